"""Search what people type: fold accents, spelling, hyphens and joined words the same everywhere."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import migrations, models

# Servers differ in their extensions, and in what their locale calls a letter: of both, nothing
# is used here. A body in SQL's own form is read once, so that no search path can change it. None
# is STRICT: those that are cannot be inlined, and a call costs more than most of these bodies.
FUNCTION = "CREATE FUNCTION {} LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN {};\n"

# Letters without accents, in either case. What is invisible goes, every dash becomes a hyphen.
PLAIN = r"""
CASE WHEN $1 ~ '[^\x01-\x7f]' THEN translate(
    regexp_replace(
        replace(replace(replace(replace(normalize($1, NFKD), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'Æ', 'Ae'),
        '[\u0300-\u036f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]', '', 'g'
    ),
    'łøđħıŁØĐ‐‑‒–—―−’ʼ', 'lodhiLOD-------'''''
) ELSE $1 END"""

# The words as typed, lower case: all but letters and digits parts them, an apostrophe does not.
BARE = r"""
btrim(regexp_replace(
    lower(replace(search_plain($1), '''', '')),
    '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\xbf\u2000-\u2bff\u3000-\u303f\ufe10-\ufe6f\uff00-\uff0f]+',
    ' ', 'g'
))"""

# British words in American spelling.
NO_VERB = (
    "prec|conc|exerc|prom|comprom|surpr|enterpr|expert|otherw|likew|adv|superv|rev|dev|improv|"
    "no|ra|pra|apra|w|r|ar|compr|disgu|franch|merchand|parad|treat|telev|cru|pra|pro|chast|dem"
)
SPELLINGS = (
    (rf"\m(?!(?:{NO_VERB})is)([a-z]{{2,}})is(e|ed|es|er|ers|ing|able|ation|ations)\M", r"\1iz\2"),
    (r"\m((?:anal|paral|catal)y)s(e|ed|er|ers|ing)\M", r"\1z\2"),
    (r"\m([a-z]{3,})our(s|ed|ing|able|ite|al|ally|hood)?\M", r"\1or\2"),
    (
        r"\m(model|label|travel|cancel|channel|level|signal|total|fuel|tunnel|panel|marshal|initial|"
        r"parallel|counsel|equal)l(ed|ing|er|ers)\M",
        r"\1\2",
    ),
    (r"\m(cent|fib|met|lit|calib|theat)re(s|d)?\M", r"\1er\2"),
    (r"\m((?:cata|dia|ana)log)ue(s)?\M", r"\1\2"),
    (r"\m(defen|offen|licen|preten)ce(s|d)?\M", r"\1se\2"),
    (r"\m(program)me(s)?\M", r"\1\2"),
    (r"\martefact(s)?\M", r"artifact\1"),
    # The dictionary takes the s of "GPUs" for part of the word.
    (r"\m([a-z]{1,2}pu)s\M", r"\1"),
)


def spelling(text: str) -> str:
    for found, made in SPELLINGS:
        text = f"regexp_replace({text}, '{found}', '{made}', 'g')"
    # Most texts have no such word, and one look is cheaper than ten.
    any_of = r"is[eia]|ys[ei]|our|ll[ei]|re[sd]?\M|ogue|ence|mme|artef|pus"
    return f"CASE WHEN $1 ~ '({any_of})' THEN {text} ELSE $1 END"


# Words that are written together or with a hyphen, as one word each: "4-bit" -> "4bit".
JOINED = r"""
coalesce((
    SELECT string_agg(regexp_replace(found[1], '[-/_.+]', '', 'g'), ' ')
    FROM regexp_matches(search_plain($1), '[A-Za-z0-9]+(?:[-/_.+][A-Za-z0-9]+)+', 'g') AS found
), '')"""
# And the parts of words that are written as one: "FlashAttention4" -> "Flash Attention 4".
SEAM = r"([a-z][a-z])(?=[A-Z])|([A-Z]{2})(?=[A-Z][a-z]{2})|([A-Za-z]{2})(?=[0-9])|([0-9])(?=[A-Za-z]{2})"
SEAMS = SEAM.replace("(?=", "(?:").replace("([", "(?:[")
PARTED = rf"""
coalesce((
    SELECT string_agg(regexp_replace(found[1], '{SEAM}', '\1\2\3\4 ', 'g'), ' ')
    FROM regexp_matches(search_plain($1), '[A-Za-z0-9]*(?:{SEAMS})[A-Za-z0-9]*', 'g') AS found
), '')"""

# Most texts of a few words have neither.
TEXT = rf"""
search_words($1)
|| CASE WHEN $1 ~ '{SEAMS}' THEN ' ' || search_parted($1) ELSE '' END
|| CASE WHEN $1 ~ '[-/_.+‐‑‒–]' THEN ' ' || search_joined($1) ELSE '' END"""

# An author by family name first, by given name first, and by initial: "Goiri Inigo Goiri I Goiri".
AUTHORS = r"""
coalesce((
    SELECT string_agg(
        search_words(
            regexp_replace(search_plain(author), '^([^,]+), *((\w).*)$', '\1 \2 \1 \3 \1')
        ),
        ' ')
    FROM unnest($1) AS author
), '')"""

# What a repository is known by: "owner/name", lower case.
REPOSITORY = r"""
lower(substring($1 FROM '(?i)github\.com[/:]([\w.-]+/[\w-]+(?:\.(?!git\M)[\w-]+)*)'))"""

FUNCTIONS = (
    ("search_plain(text) RETURNS text", PLAIN),
    ("search_bare(text) RETURNS text", BARE),
    ("search_spelling(text) RETURNS text", spelling("$1")),
    ("search_words(text) RETURNS text", "search_spelling(search_bare($1))"),
    ("search_key(text) RETURNS text", "replace(search_words($1), ' ', '')"),
    ("search_joined(text) RETURNS text", f"search_words({JOINED})"),
    ("search_parted(text) RETURNS text", f"search_words({PARTED})"),
    ("search_text(text) RETURNS text", TEXT),
    ("search_authors(text[]) RETURNS text", AUTHORS),
    ("search_repository(text) RETURNS text", REPOSITORY),
)

CREATE = "".join(FUNCTION.format(*function) for function in FUNCTIONS)
DROP = "".join(
    f"DROP FUNCTION {signature.split(' RETURNS')[0]};\n" for signature, _ in reversed(FUNCTIONS)
)


AS_TEXT = models.TextField()


def folded(text, function='search_text'):
    return models.Func(text, function=function, output_field=AS_TEXT)


def joined(texts):
    return models.Func(models.F(texts), models.Value(' '), function='immutable_array_to_string', output_field=AS_TEXT)


def words(*texts, weight):
    return SearchVector(*map(folded, texts), weight=weight, config='english')


SEARCH = (
    words('title', 'artifact_name', weight='A')
    + SearchVector(folded('authors', 'search_authors'), weight='B', config='simple')
    + words('summary', weight='C')
    + words('venue', joined('hardware'), joined('models_used'), 'claims_text', weight='D')
    + SearchVector(
        'key',
        'year',
        *map(folded, ('arxiv_id', 'doi', 'code_url')),
        weight='D',
        config='simple',
    )
)


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0004_venue_in_parts'),
    ]

    operations = [
        migrations.RunSQL(CREATE, DROP),
        # What a generated column is made of cannot be altered.
        migrations.RemoveIndex(model_name='publication', name='publication_search'),
        migrations.RemoveField(model_name='publication', name='search'),
        migrations.AddField(
            model_name='publication',
            name='search',
            field=models.GeneratedField(db_persist=True, expression=SEARCH, output_field=SearchVectorField()),
        ),
        migrations.AddIndex(
            model_name='publication',
            index=GinIndex(fields=['search'], name='publication_search'),
        ),
        migrations.AddIndex(
            model_name='publication',
            index=models.Index(folded('artifact_name', 'search_key'), name='publication_by_name'),
        ),
        migrations.AddIndex(
            model_name='publication',
            index=models.Index(folded('code_url', 'search_repository'), name='publication_by_repository'),
        ),
    ]

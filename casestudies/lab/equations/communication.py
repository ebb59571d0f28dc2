"""Numbers and bytes that ranks send to one another."""

from casestudies.lab.equations.equation import (
    BATCH,
    COUNT,
    NOT_NEGATIVE,
    NUMBER_BYTES,
    PARAMETERS,
    POSITIVE,
    RANKS,
    TENSOR_RANKS,
    TOKENS,
    WIDTH,
    Source,
    Symbol,
    equation,
    one_of,
)

PAYLOAD = Symbol("S", "payload_bytes", "bytes that each rank holds in the end", "byte", POSITIVE)
SENT_WHOLE = Symbol("S", "payload_bytes", "bytes that each rank has for all", "byte", POSITIVE)
LATENCY = Symbol(
    "α", "latency_seconds", "time before a message begins to arrive", "s", NOT_NEGATIVE
)
LINK = Symbol("β", "link_rate", "rate of a rank's link, one direction", "byte/s", POSITIVE)
ALL_REDUCES = Symbol("r", "all_reduces", "all-reduces of the layer", "all-reduces", COUNT)
PEERS = Symbol("n", "peers", "peers that a token passes one after another", "peers", COUNT)
ROUND_TRIP = Symbol(
    "r", "round_trip", "time of a short message to a peer and back", "s", NOT_NEGATIVE
)
MESSAGE = Symbol("S", "message_bytes", "bytes of a message, each way", "byte", POSITIVE)
PEER_LINK = Symbol("β", "link_rate", "rate of a peer's link", "byte/s", POSITIVE)
COMPUTED = Symbol("T_c", "compute", "time that all peers compute", "s", NOT_NEGATIVE)
STAGE = Symbol("z", "stage", "stage of ZeRO", "", one_of(0, 1, 2, 3))

RING = Source(
    reference="Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of"
    " workstations",
    place="theorem 1 and section 3",
    from_memory=True,
)


@equation(
    "Bytes of an all-reduce in a ring",
    "2·(N - 1)/N·S",
    "byte",
    RANKS,
    PAYLOAD,
    holds="Scatter-reduce, then gather, each in N - 1 steps of S/N; no all-reduce that only sends"
    " sends less.",
    fails="Trees send other amounts; switches that add up (SHARP) send S.",
    sources=(RING,),
)
def all_reduce_bytes(*, ranks: int, payload_bytes: float) -> float:
    """Return the bytes that each rank sends."""
    return 2 * (ranks - 1) / ranks * payload_bytes


@equation(
    "Bytes of a gather or a reduce-scatter in a ring",
    "(N - 1)/N·S",
    "byte",
    RANKS,
    SENT_WHOLE,
    holds="All-gather and reduce-scatter alike: S is the whole, S/N a rank's part.",
    fails="Padding to equal parts is left out.",
    sources=(RING,),
)
def gather_bytes(*, ranks: int, payload_bytes: float) -> float:
    """Return the bytes that each rank sends."""
    return (ranks - 1) / ranks * payload_bytes


@equation(
    "Bytes of an all-to-all",
    "(N - 1)/N·S",
    "byte",
    RANKS,
    SENT_WHOLE,
    holds="Each rank sends an even part of what it has to every other: experts on N ranks, tokens"
    " spread evenly.",
    fails="Uneven routing sends other amounts; the slowest rank decides.",
    sources=(Source(publication="hwang2022tutel", place="section 2", from_memory=True),),
)
def all_to_all_bytes(*, ranks: int, payload_bytes: float) -> float:
    """Return the bytes that each rank sends; a layer with experts does it there and back."""
    return (ranks - 1) / ranks * payload_bytes


@equation(
    "Time of an all-reduce in a ring",
    "2·(N - 1)·(α + S/(N·β))",
    "s",
    RANKS,
    PAYLOAD,
    LATENCY,
    LINK,
    holds="Links that do not slow one another, both directions at once.",
    fails="Leaves out the additions. Short messages are faster in trees.",
    sources=(RING,),
)
def all_reduce_seconds(
    *, ranks: int, payload_bytes: float, latency_seconds: float, link_rate: float
) -> float:
    """Return the time until every rank has the sum."""
    return 2 * (ranks - 1) * (latency_seconds + payload_bytes / (ranks * link_rate))


@equation(
    "Numbers that data parallelism sends",
    "2·P for z < 3, 3·P for z = 3",
    "numbers",
    PARAMETERS,
    STAGE,
    holds="Each rank, each step, for many ranks: gradients scattered and gathered (2·P; stages 1"
    " and 2 gather weights instead), and in stage 3 weights gathered forward and backward.",
    fails="For N ranks each pass sends (N - 1)/N of it. Gradients accumulated over several"
    " micro-batches: stage 3 gathers weights for each.",
    sources=(Source(publication="rajbhandari2019zero", place="section 7"),),
)
def data_parallel_numbers(*, parameters: float, stage: int) -> float:
    """Return the numbers, not bytes, that each rank sends in a step."""
    return parameters * (3 if stage == 3 else 2)


@equation(
    "Bytes of one all-reduce of tensor parallelism",
    "s·b·h·e",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    NUMBER_BYTES,
    holds="The output of an attention or a feed-forward part: two forward and two backward in each"
    " layer.",
    fails="A gather and a scatter take its place under sequence parallelism, with as many bytes.",
    sources=(
        Source(publication="shoeybi2019megatron", place="section 3, figure 4", from_memory=True),
    ),
)
def tensor_parallel_message_bytes(
    *, tokens: int, batch: int, hidden: int, number_bytes: float = 2
) -> float:
    """Return the bytes of the tensor that all ranks add up."""
    return tokens * batch * hidden * number_bytes


@equation(
    "Bytes that tensor parallelism sends in a layer",
    "r·2·(t - 1)/t·s·b·h·e",
    "byte",
    ALL_REDUCES,
    TENSOR_RANKS,
    TOKENS,
    BATCH,
    WIDTH,
    NUMBER_BYTES,
    holds="Ring all-reduces; r is 4 in a training step and 2 in a forward pass. In numbers a"
    " training step sends 8·b·s·h·(t - 1)/t.",
    fails="Recomputing the layer adds its two forward all-reduces. A plan that splits each matrix"
    " by itself sends more.",
    sources=(Source(publication="narayanan2021ptdp", place="section 3.2", from_memory=True),),
)
def tensor_parallel_bytes(
    *,
    tensor_ranks: int,
    tokens: int,
    batch: int,
    hidden: int,
    number_bytes: float = 2,
    all_reduces: int = 4,
) -> float:
    """Return the bytes that each rank sends for one layer and one micro-batch."""
    message = tensor_parallel_message_bytes(
        tokens=tokens, batch=batch, hidden=hidden, number_bytes=number_bytes
    )
    return all_reduces * all_reduce_bytes(ranks=tensor_ranks, payload_bytes=message)


@equation(
    "Bytes between two stages of a pipeline",
    "s·b·h·e",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    NUMBER_BYTES,
    holds="One micro-batch across one boundary, one direction: activations forward, their gradients"
    " back.",
    fails="Interleaving crosses v times as many boundaries.",
    sources=(Source(publication="narayanan2021ptdp", place="section 3.2", from_memory=True),),
)
def boundary_bytes(*, tokens: int, batch: int, hidden: int, number_bytes: float = 2) -> float:
    """Return the bytes that a stage sends on for each micro-batch."""
    return tokens * batch * hidden * number_bytes


@equation(
    "Time of a token through a chain of peers",
    "T_c + n·(r + 2·S/β)",
    "s",
    COMPUTED,
    PEERS,
    ROUND_TRIP,
    MESSAGE,
    PEER_LINK,
    holds="A client asks one peer after another and waits for each; one sequence, so that peers"
    " compute in turn.",
    fails="Peers that send on to the next save nearly half of the delay. Leaves out queues,"
    " lost packets, and links of unequal rate.",
    sources=(Source(publication="borzunov2022petals", place="section 2.1", from_memory=True),),
)
def chain_token_seconds(
    *, compute: float, peers: int, round_trip: float, message_bytes: float, link_rate: float
) -> float:
    """Return the time until the client has what the last peer makes of the token."""
    return compute + peers * (round_trip + 2 * message_bytes / link_rate)

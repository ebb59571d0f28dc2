"""Who may do what with runs, sweeps and contributions. Everyone may read them."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission, User

from casestudies.models import Contribution, Run, Sweep

Person = AbstractBaseUser | AnonymousUser


def may_start(user: Person) -> bool:
    """Return whether the person may start runs, and start any run again."""
    return isinstance(user, User) and user.has_perm("casestudies.add_run")


def may_cancel(user: Person, run: Run) -> bool:
    """Return whether the person may cancel the run, as long as it has not ended."""
    return _manages(user, run)


def may_manage(user: Person, sweep: Sweep) -> bool:
    """Return whether the person may cancel the sweep's runs, and change its note."""
    return _manages(user, sweep)


def may_annotate(user: Person, run: Run) -> bool:
    """Return whether the person may change the run's note and tags; nobody a reference run's."""
    return run.reference is None and _manages(user, run)


def may_delete(user: Person, run: Run) -> bool:
    """Return whether the person may delete the run once it has ended; nobody a reference run."""
    if run.reference is not None or not isinstance(user, User):
        return False
    return user.has_perm("casestudies.delete_run") or (_owns(user, run) and may_start(user))


def may_contribute(user: Person) -> bool:
    """Return whether the person may bring in runs that were made elsewhere."""
    return isinstance(user, User) and user.has_perm("casestudies.add_contribution")


def may_undo(user: Person, contribution: Contribution) -> bool:
    """Return whether the person may remove a contribution with its runs: one's own, or any."""
    if not isinstance(user, User):
        return False
    own = contribution.importer_id == user.pk and may_contribute(user)
    return own or user.has_perm("casestudies.delete_contribution")


def may_accept(user: Person) -> bool:
    """Return whether the person may let contributed runs decide, and take that back."""
    return isinstance(user, User) and user.has_perm("casestudies.accept_contribution")


def let_start_runs(user: User) -> None:
    """Give the account the permission to start runs."""
    start = Permission.objects.get(content_type__app_label="casestudies", codename="add_run")
    user.user_permissions.add(start)


def _manages(user: Person, asked_for: Run | Sweep) -> bool:
    """Return whether it is the person's own, or the person looks after those of all."""
    if not isinstance(user, User):
        return False
    return _owns(user, asked_for) or user.has_perm("casestudies.change_run")


def _owns(user: User, asked_for: Run | Sweep) -> bool:
    return user.is_active and asked_for.owner_id == user.pk

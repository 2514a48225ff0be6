"""Every error that a user can meet, in one tree.

    JourneyError                 asked wrongly, or the world is not as needed: exit 2
    ├── TaxonomyError            a taxonomy or mapping names something that does not exist
    ├── InputError               a file is unreadable or not what it should be
    │   └── NothingAcceptedError a file holds nothing, or nothing that can be accepted: exit 1
    ├── NotBuiltError            a table or release is asked for before it exists
    ├── BrokerError              no Kafka: Java, Maven, port, address
    ├── LandingGapError          Kafka no longer holds what the lake has not landed yet
    ├── SupersededError          another lander has committed the same range: nothing is lost
    ├── StorageError             the disk is full or refuses to be written
    │   └── DamagedError         a file of ours is not what was written: exit 1
    ├── LostLakeError            the lake that a build was made from is not there any more
    ├── CheckFailedError         a contract of a table is broken: exit 1
    └── RefusedError             a release would lack most of what it should hold: exit 1

Each message says what, where and what next.
"""


class JourneyError(Exception):
    """Root of the tree. `exit_code` is what the command line returns."""

    exit_code = 2


class TaxonomyError(JourneyError):
    """A taxonomy or mapping names something that does not exist, or is no boolean expression."""


class InputError(JourneyError):
    """A file is unreadable, or not what it should be."""


class NothingAcceptedError(InputError):
    """A file is read, and nothing in it can be accepted."""

    exit_code = 1


class NotBuiltError(JourneyError):
    """A table or a release is asked for before it exists."""


class BrokerError(JourneyError):
    """Kafka cannot be reached or started."""


class LandingGapError(JourneyError):
    """Kafka no longer holds offsets that the lake has not landed."""


class SupersededError(JourneyError):
    """Another lander committed the same offsets first; the rows are in the lake once."""

    exit_code = 0


class StorageError(JourneyError):
    """The disk is full, or refuses to be written."""


class DamagedError(StorageError):
    """A file that this program wrote is missing, cut off, or holds something else."""

    exit_code = 1


class LostLakeError(JourneyError):
    """The lake that a build or a release was made from is not there, or a part of it is missing."""


class CheckFailedError(JourneyError):
    """A table breaks its contract; nothing is published."""

    exit_code = 1


class RefusedError(JourneyError):
    """Most records are rejected, or most customers of the current release would be lost; nothing is published."""

    exit_code = 1

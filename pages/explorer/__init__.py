"""The explorers of the Generation tab: what each is asked and what it answers, one file each."""

from pages.explorer import again, averages, copies, steps
from pages.explorer.stream import Explorer

KNOWN: dict[str, Explorer] = {
    "steps": steps.make,
    "averages": averages.make,
    "again": again.make,
    "copies": copies.make,
}

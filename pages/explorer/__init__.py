"""The explorers of the Generation tab: what each is asked and what it answers, one file each."""

from pages.explorer import again, averages, classes, copies, own, pad, steps
from pages.explorer.stream import Explorer

KNOWN: dict[str, Explorer] = {
    "steps": steps.make,
    "averages": averages.make,
    "classes": classes.make,
    "pad-map": pad.make_map,
    "pad-point": pad.make_point,
    "pad-film": pad.make_film,
    **own.EXPLORERS,
    "again": again.make,
    "copies": copies.make,
}

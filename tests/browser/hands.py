"""What a person does on the Generation tab, by mouse and by keyboard, and how to wait for what comes of it."""

import base64
import io
from collections.abc import Iterator

from PIL import Image

# What the page asks by itself all the time; whoever counts questions leaves them out.
POLLS = ("/studio/status", "/studio/models")
# What the pad shows, and whether the studio drew it: no longer the coarse map, which comes first.
DRAWN = "document.getElementById('pad_picture').toDataURL()"
EXACT = "document.getElementById('pad_picture').dataset.exact === 'true'"


def choose_mode(page, name):
    page.locator(".modes").get_by_role("button", name=name, exact=True).click()


def set_number(page, elem_id, value):
    field = page.locator(f"#{elem_id} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def press(page, name):
    """Clicks and waits for the end; what the line says then."""
    page.evaluate("document.getElementById('generation_status').textContent = ''")
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function(
        "document.querySelector('.canvas').dataset.busy === 'false' && document.getElementById('generation_status').textContent"
    )
    return page.locator("#generation_status").inner_text()


def open_mode(page, mode, models=1):
    page.evaluate("mode => Studio.place.set('mode', mode)", mode)
    page.get_by_role("tab", name="Generation").click()
    page.locator(f'.modes [data-mode="{mode}"][aria-pressed="true"]').wait_for()
    if models:
        page.wait_for_function("Studio.how.values.model")
    return page


def open_quickly(page, mode):
    """The same with four steps a picture instead of twenty, where it is of no matter how good they are."""
    open_mode(page, "grid")
    set_number(page, "steps", 4)
    page.wait_for_function("Studio.how.values.steps === 4")
    return open_mode(page, mode)


def settled(page):
    """Waits until the open explorer has nothing to do; its line."""
    page.wait_for_function(
        "document.querySelector('.room .bench')?.dataset.busy === 'false' && document.querySelector('.room .bench .line').textContent"
    )
    return page.locator(".room .bench .line").inner_text()


def go(page, act):
    """Acts, and waits for the end of what that began."""
    page.evaluate("document.querySelector('.room .bench .line').textContent = ''")
    act()
    return settled(page)


def tab_to(page, elem_id):
    """By the Tab key alone, as somebody without a mouse gets there."""
    for _ in range(80):
        if page.evaluate("document.activeElement?.id") == elem_id:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{elem_id} cannot be reached with the Tab key")


def start_tabbing(page, mode):
    page.locator(f'.modes [data-mode="{mode}"]').focus()


def saved(page, name, tmp_path):
    with page.expect_download() as download:
        page.locator(".room").get_by_role("link", name=name).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def point(page, u, v):
    """Moves the pointer to a place of the pad, 0 to 1 each."""
    page.locator("#pad_surface").scroll_into_view_if_needed()
    box = page.locator("#pad_surface").bounding_box()
    rim = 0.5 / 7
    at = [box[key] + box[side] * (rim + share * (1 - 2 * rim)) for key, side, share in (("x", "width", u), ("y", "height", v))]  # fmt: skip
    page.mouse.move(*at)


def png(seed=0) -> bytes:
    image = Image.effect_noise((40, 30), 80).convert("RGB")
    image.paste((40 * seed % 256, 120, 200), (5, 5, 25, 20))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def choose_file(page, slot, content, name="mine.png", kind="image/png"):
    page.locator(f"#own_{slot}").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def has_picture(page, slot):
    page.wait_for_function("slot => document.querySelector(`[data-slot=${slot}] img`).naturalWidth > 0", arg=slot)


def narrow_and_wide(page) -> Iterator[int]:
    """The window at 800 px, then at 1280, and how wide it is: with a moment for what is in it to find its place."""
    for width in (800, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        yield width


def opened(page):
    page.get_by_role("tab", name="Generation").click()
    page.wait_for_function("document.querySelector('#model input')?.value")
    return page


def drop(page, content: bytes, target="#generation_stage", end="drop"):
    """Files reach a page only through a DataTransfer; a person's mouse makes one, here a script does."""
    encoded = base64.b64encode(content).decode()
    transfer = page.evaluate_handle(
        """(text) => { const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); const transfer = new DataTransfer();
             transfer.items.add(new File([bytes], 'some.png', { type: 'image/png' })); return transfer }""",
        encoded,
    )
    page.dispatch_event(target, "dragover", {"dataTransfer": transfer})
    assert page.locator(".drop-hint").is_visible()
    page.dispatch_event(target, end, {"dataTransfer": transfer})


def notice(page):
    return page.locator("#notice")

"""Nothing lies on anything else on the Generation tab, in two widths."""

import json

from tests.browser.hands import (
    EXACT,
    choose_file,
    go,
    has_picture,
    narrow_and_wide,
    open_mode,
    open_quickly,
    png,
    settled,
)

# What lies on what, where it should not; a picture may lie under its mask, its other half or its dot.
CROWDED = """() => {
  const seen = [...document.querySelectorAll('#generation_stage :is(button, input, select, label, legend, a, img, canvas, p, h3, th, progress)')]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length && !e.matches('input[type=file], .wipe-over, .mask-stage *, .js-plotly-plot *'));
  const boxes = seen.map((e) => e.getBoundingClientRect());
  const name = (e) => `${e.tagName} ${e.id || e.className} "${e.textContent.slice(0, 20)}"`;
  const stage = document.querySelector('#generation_stage').getBoundingClientRect();
  const wrong = [];
  boxes.forEach((a, i) => {
    if ((a.left < stage.left - 1 || a.right > stage.right + 1) && !seen[i].closest('.cells-scroll')) wrong.push(`${name(seen[i])} leaves the card`);
    for (let j = i + 1; j < boxes.length; j++) {
      const b = boxes[j];
      if (seen[i].contains(seen[j]) || seen[j].contains(seen[i])) continue;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) wrong.push(`${name(seen[i])} lies on ${name(seen[j])}`);
    }
  });
  return wrong;
}"""


def test_nothing_overlaps_or_leaves_the_window(open_page, studio, toy_run, toy_snapshots):
    name = "a-run-whose-name-is-as-long-as-a-name-of-a-run-may-ever-be-64-it"
    toy_run(studio.root, name)
    toy_snapshots(studio.root, name, range(256, 2305, 256))
    toy_run(studio.root, "grey", size=32, channels=1)
    page = open_page(f"/#tab=generation&model={name}/ddpm_best.pt")

    def check(what):
        for width in narrow_and_wide(page):
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (what, width)
            assert page.evaluate(CROWDED) == [], (what, width)

    open_quickly(page, "pad")
    page.wait_for_function(f"Studio.how.values.model.startsWith({json.dumps(name)})")
    settled(page)
    page.wait_for_function(EXACT)
    check("pad")
    page.locator("#pad_record").click()
    go(page, lambda: page.locator("#pad_record").click())
    check("pad with a film")
    open_mode(page, "own")
    check("own")
    page.locator("#own_frames").fill("4")
    for slot in "ab":
        choose_file(page, slot, png(), name=name + name + ".png")
        has_picture(page, slot)
    for task in ("walk", "redraw", "fill"):
        page.locator(f'button[data-task="{task}"]').click()
        if task == "fill":
            page.locator("#mask_part").select_option("middle")
        go(page, lambda: page.locator("#own_go").click())
        page.wait_for_timeout(200)
        check("own " + task)
    open_mode(page, "steps")
    for count in (3, 50):
        page.locator(f"#steps_{count}").click()
    go(page, lambda: page.locator("#steps_go").click())
    check("steps")
    open_mode(page, "averages")
    page.locator("#averages_samples").fill("2")
    go(page, lambda: page.locator("#averages_go").click())
    check("averages")
    open_mode(page, "models")
    page.get_by_role("button", name="Compare").click()
    page.locator("#wipe").wait_for()
    page.locator(".models-chart .js-plotly-plot").wait_for()
    check("models")
    page.add_style_tag(content="#wipe_left { margin-right: -100px }")
    assert page.evaluate(CROWDED)  # it does see what is wrong

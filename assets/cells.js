// Makes the pictures of a grid choosable: a button over each, of which one is in the tab order and the arrow keys reach the rest.
//
// show({count, columns, side, gap, seeds}) lays them over `image`; show(null) takes them away. `choose(index)` hears a click.
Studio.cells = (image, choose) => {
  const { t, h } = Studio;
  const element = h("div", { class: "cells-over", role: "group", "aria-label": t("cells.name"), hidden: true });
  let grid = null;

  const lay = () => {
    for (const [side, length] of [["left", image.offsetLeft], ["top", image.offsetTop], ["width", image.offsetWidth], ["height", image.offsetHeight]]) element.style[side] = `${length}px`;
  };
  new ResizeObserver(lay).observe(image);

  const cell = (seed, index) => {
    const { count, columns, side, gap } = grid;
    const step = side + gap;
    const [width, height] = [columns * step + gap, Math.ceil(count / columns) * step + gap];
    const share = (pixels, all) => `${(100 * pixels) / all}%`;
    const place = { left: share(gap + (index % columns) * step, width), top: share(gap + Math.floor(index / columns) * step, height), width: share(side, width), height: share(side, height) };
    const words = t("cells.cell", { seed });
    const button = h("button", { type: "button", class: "cell-over", tabindex: index ? -1 : 0, title: words, "aria-label": words, "aria-pressed": false, onclick: () => choose(index) });
    Object.assign(button.style, place);
    return button;
  };
  const show = (fresh) => {
    grid = fresh;
    element.hidden = !fresh;
    element.replaceChildren(...(fresh ? fresh.seeds.map(cell) : []));
    lay();
  };
  const mark = (index) => [...element.children].forEach((button, i) => button.setAttribute("aria-pressed", i === index));
  Studio.roving(element, () => grid.columns);
  return { element, show, mark };
};

// The arrow keys, Home and End walk among the buttons in `element`, `columns()` in a row; Tab leaves them all.
Studio.roving = (element, columns) => {
  const buttons = () => [...element.children];
  const go = (to) => {
    buttons().forEach((button) => (button.tabIndex = button === to ? 0 : -1));
    to.focus();
  };
  element.addEventListener("focusin", (event) => buttons().forEach((button) => (button.tabIndex = button === event.target ? 0 : -1)));
  element.addEventListener("keydown", (event) => {
    const all = buttons();
    const now = all.indexOf(event.target);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -now, End: all.length - 1 - now };
    if (now < 0 || !(event.key in steps)) return;
    event.preventDefault(); // the page would scroll
    const to = all[now + steps[event.key]];
    if (to) go(to);
  });
};

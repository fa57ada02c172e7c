// The pad: four seeds at the corners and everything between them under the pointer. While it moves the nearest picture of a
// coarse map is shown, which is all here; when it rests the studio draws the exact one. A recorded path becomes a film.
// With a model that knows classes each corner can have one, and between them they mix.
Studio.rooms.pad = () => {
  const { t, h, put } = Studio;
  const REST = 120; // milliseconds without a move, then the exact picture is asked for
  const STEP = 1 / 24; // of the pad, for an arrow key
  const CORNERS = ["tl", "tr", "bl", "br"];
  const ANY = "any";
  const bench = Studio.bench("pad");
  const files = Studio.saveLinks();
  const film = Studio.walkView("pad_film");
  film.element.hidden = true;
  const random = () => Math.floor(Math.random() * 1e6);

  // ---- corners
  const corners = CORNERS.map((corner, i) => {
    const seed = h("input", { type: "number", min: 0, step: 1, value: i, id: `pad_seed_${corner}`, "aria-label": t("pad.seed", { corner: t("pad." + corner) }) });
    const kind = h("select", { id: `pad_class_${corner}`, hidden: true, title: t("pad.class.why"), "aria-label": t("pad.class", { corner: t("pad." + corner) }) });
    kind.addEventListener("change", () => draw());
    const lock = h("button", { type: "button", class: "quiet small", "aria-pressed": false, title: t("pad.lock.why") }, t("pad.lock"));
    const roll = h("button", { type: "button", class: "quiet small", title: t("pad.reroll.why"), "aria-label": t("pad.reroll.one", { corner: t("pad." + corner) }) }, t("pad.reroll"));
    lock.addEventListener("click", () => {
      const locked = lock.getAttribute("aria-pressed") !== "true";
      lock.setAttribute("aria-pressed", locked);
      roll.disabled = seed.disabled = kind.disabled = locked;
    });
    roll.addEventListener("click", () => {
      seed.value = random();
      draw();
    });
    seed.addEventListener("change", () => draw());
    return { seed, kind, lock, element: h("div", { class: `pad-corner pad-${corner}` }, h("span", { class: "hint" }, t("pad." + corner)), kind, seed, roll, lock) };
  });
  let names = []; // of the model's classes
  let known = false; // whether they are this model's
  const told = () => {
    const seeds = corners.map(({ seed }) => Studio.numberIn(seed));
    return known && names.length ? { seeds, classes: corners.map(({ kind }) => kind.value) } : { seeds };
  };
  const guided = () => {
    const { guidance, autoguidance } = Studio.how.values;
    return String([told().classes?.some((kind) => kind !== ANY) ? guidance : 1, autoguidance]);
  };
  // What was chosen stays where the classes are the same ones; `wish` is what they shall be.
  const offer = (fresh, wish) => {
    const same = fresh.length === names.length && fresh.every((name, i) => name === names[i]);
    names = fresh;
    known = true;
    corners.forEach(({ kind }, i) => {
      const chosen = wish ? wish[i] : same ? kind.value : ANY;
      if (!same || !kind.options.length) kind.replaceChildren(...[[ANY, t("generation.class.any")], ...fresh.entries()].map(([value, name]) => h("option", { value }, name)));
      kind.value = chosen;
      kind.hidden = !fresh.length;
    });
  };

  // ---- the pad and the picture
  const surface = h("canvas", { class: "pad-map", width: 1, height: 1, "aria-hidden": "true" });
  const dot = h("i", { class: "pad-dot" });
  const pad = h("div", { id: "pad_surface", class: "pad-surface", tabindex: 0, role: "application", "aria-label": t("pad.surface"), "aria-describedby": "pad_place" }, surface, dot);
  const picture = h("canvas", { id: "pad_picture", class: "pad-picture pixels", width: 1, height: 1, role: "img", "aria-label": t("pad.picture") });
  const place = h("p", { id: "pad_place", class: "hint", role: "status" });
  let at = { u: 0.5, v: 0.5 };
  let map = null; // {image, side}
  let drawn = null; // the model that it is of
  let pull = ""; // the guidance that it was drawn with
  let timer = null;
  let back = null; // takes back the exact picture that was asked for
  let path = null; // while recording

  const onto = (canvas, image, x, y, side) => {
    canvas.width = canvas.height = side;
    canvas.getContext("2d").drawImage(image, x, y, side, side, 0, 0, side, side);
  };
  // Each pixel a square of whole pixels on the screen; the map, which may not fit so, is otherwise drawn smoothly.
  const fit = () => {
    const size = Studio.models.list?.find(([key]) => key === drawn)?.[1];
    const room = picture.parentElement?.clientWidth * devicePixelRatio;
    if (size && room) picture.style.width = `${(Math.max(1, Math.floor(room / size)) * size) / devicePixelRatio}px`;
    surface.classList.toggle("pixels", Number.isInteger((surface.clientWidth * devicePixelRatio) / surface.width));
  };
  new ResizeObserver(fit).observe(surface);
  const coarse = () => {
    if (!map) return;
    const tile = map.image.naturalWidth / map.side;
    const [x, y] = [at.u, at.v].map((value) => Math.round(value * (map.side - 1)) * tile);
    onto(picture, map.image, x, y, tile);
    picture.dataset.exact = false;
  };
  // The middle of a picture on the map is exactly its place; so the outermost half picture all around belongs to the edge.
  const rim = () => 0.5 / (map ? map.side : 7);
  const onPad = (share) => `${100 * (rim() + share * (1 - 2 * rim()))}%`;
  const placeOf = ({ u, v }) => t("pad.place", { u: Math.round(100 * u), v: Math.round(100 * v) });
  const mark = () => {
    dot.style.left = onPad(at.u);
    dot.style.top = onPad(at.v);
  };
  const move = (u, v) => {
    at = { u: Math.min(1, Math.max(0, u)), v: Math.min(1, Math.max(0, v)) };
    mark();
    if (path) path.push([at.u, at.v]);
    put(place, placeOf(at));
    coarse();
    clearTimeout(timer);
    timer = setTimeout(exact, REST);
  };
  const exact = () => {
    const here = { ...at };
    back = Studio.make("pad-point", "pad-point", { ...Studio.how.values, ...told(), ...here }, ({ error, point }) => {
      if (error) return bench.say(error);
      if (!point || here.u !== at.u || here.v !== at.v) return;
      const image = new Image();
      image.onload = () => {
        if (here.u !== at.u || here.v !== at.v) return; // the pointer went on
        onto(picture, image, 0, 0, image.naturalWidth);
        picture.dataset.exact = true;
      };
      image.src = point.src;
    });
  };
  const clear = () => {
    files.show([]);
    film.element.hidden = true;
  };
  const draw = () => {
    clear();
    pull = guided();
    bench.ask("pad-map", told(), (answer) => {
      if (answer.map) {
        const image = new Image();
        image.onload = () => {
          map = { image, side: answer.map.side };
          onto(surface, image, 0, 0, image.naturalWidth);
          fit();
          mark();
          if (picture.dataset.exact !== "true") coarse();
        };
        image.src = answer.map.src;
      }
      if (!answer.busy && !answer.error && !answer.cancelled) {
        bench.say(t("pad.ready"));
        exact();
      }
    });
    picture.dataset.exact = false;
  };

  const follow = (event) => {
    const box = pad.getBoundingClientRect();
    const share = (far, whole) => (far / whole - rim()) / (1 - 2 * rim());
    move(share(event.clientX - box.left, box.width), share(event.clientY - box.top, box.height));
  };
  pad.addEventListener("pointermove", (event) => (event.pointerType === "mouse" || event.buttons) && follow(event));
  pad.addEventListener("pointerdown", follow);
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  pad.addEventListener("keydown", (event) => {
    const way = KEYS[event.key];
    if (!way) return;
    event.preventDefault();
    const far = event.shiftKey ? 4 : 1;
    move(at.u + far * STEP * way[0], at.v + far * STEP * way[1]);
  });

  // ---- film
  const record = h("button", { id: "pad_record", type: "button", class: "quiet", "aria-pressed": false, title: t("pad.record.why") }, t("pad.record"));
  record.addEventListener("click", () => {
    if (!path) {
      path = [[at.u, at.v]];
      record.setAttribute("aria-pressed", true);
      put(record, t("pad.record.stop"));
      return bench.say(t("pad.recording"));
    }
    const walked = path.length > 2000 ? path.filter((_, i) => i % Math.ceil(path.length / 2000) === 0) : path;
    path = null;
    record.setAttribute("aria-pressed", false);
    put(record, t("pad.record"));
    clear();
    clearTimeout(timer); // the film first; Cancel then leaves nothing at work
    back?.();
    bench.ask("pad-film", { ...told(), path: walked, frames: 48 }, (answer) => {
      if (!answer.files) return;
      if (picture.dataset.exact !== "true") exact();
      film.element.hidden = false;
      film.show({ walk: { frames: answer.frames, a: t("pad.film.from"), b: t("pad.film.to"), alt: t("pad.film"), named: true } });
      files.show(answer.files);
    });
  });
  const roll = h("button", { id: "pad_reroll", type: "button", class: "quiet", title: t("pad.reroll.why") }, t("pad.reroll.all"));
  roll.addEventListener("click", () => {
    corners.forEach(({ seed, lock }) => lock.getAttribute("aria-pressed") === "true" || (seed.value = random()));
    draw();
  });

  const [tl, tr, bl, br] = corners.map((corner) => corner.element);
  const element = h(
    "div",
    {},
    h("p", { class: "hint" }, t("mode.pad.why")),
    bench.element,
    h("div", { class: "pad-row" }, h("div", { class: "pad-frame" }, tl, tr, pad, bl, br), h("div", { class: "pad-side" }, picture, place)),
    h("div", { class: "room-form" }, roll, record),
    film.element,
    files.element,
  );
  // Another model: first which classes it knows, then its map.
  const begin = (model, wish) => {
    drawn = model;
    map = null;
    known = false;
    let found = [];
    Studio.make("classes", "pad-classes", { model }, ({ classes, busy }) => {
      found = classes || found;
      if (busy) return;
      offer(found, wish);
      draw();
    });
  };
  // What an older picture brings back waits until its model is the chosen one.
  let wish = null;
  const wished = (model) => {
    if (wish?.model !== model) return null;
    const { seeds, classes, u, v } = wish;
    wish = null;
    corners.forEach(({ seed }, i) => (seed.value = seeds[i]));
    at = { u, v };
    put(place, placeOf(at));
    return classes;
  };
  const fresh = () => {
    const model = Studio.how.values.model;
    if (!model || !Studio.shown(element)) return;
    const back = wished(model);
    if (back || model !== drawn) begin(model, back);
    else if (guided() !== pull) draw();
    else exact();
  };
  Studio.how.watch(fresh);
  move(0.5, 0.5);
  clearTimeout(timer); // nothing to show yet
  const recall = (values) => {
    wish = values;
    fresh();
  };
  return { element, enter: fresh, recall };
};

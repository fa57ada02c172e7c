// What the Training tab shows back: lines of text, and the pictures as the network will see them.

// A line that Python fills. The text goes in as text, so nothing typed into the form can become HTML.
Studio.line = (element, props, watch) => {
  const line = element.querySelector(".line");
  const draw = () => Studio.put(line, props.value || "");
  watch("value", draw);
  draw();
};

// [{card: "12 GB", verdict, words}]: how the run would be on cards of several sizes.
Studio.cards = (element, props, watch) => {
  const { t, h } = Studio;
  const root = element.querySelector(".cards");
  const draw = () => {
    const cards = props.value || [];
    const badge = ({ card, verdict, words }) => h("li", { "data-verdict": verdict }, h("strong", {}, card), h("span", {}, verdict), h("span", { class: "hint" }, words));
    root.replaceChildren(...(cards.length ? [h("details", {}, h("summary", {}, t("training.cards")), h("ul", {}, ...cards.map(badge)))] : []));
  };
  watch("value", draw);
  draw();
};

// {pictures: [data URIs], size, line, about, error}
Studio.peek = (element, props, watch) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".peek");
  const line = h("p", { class: "peek-line" });
  const tiles = h("div", { class: "peek-tiles" });
  const about = h("p", { class: "hint" });
  const error = h("p", { class: "problem", role: "alert" });
  root.append(h("h3", {}, t("training.peek")), line, error, tiles, about);
  const draw = () => {
    const peek = props.value;
    if (!peek) return;
    put(error, peek.error || "");
    put(line, peek.line || "");
    put(about, peek.about || "");
    // Whole multiples of the picture's side would be best; a square tile close to 96 px is near enough and fills the row.
    tiles.style.setProperty("--tile", `${Math.max(84, Math.min(160, peek.size))}px`);
    tiles.replaceChildren(...(peek.pictures || []).map((uri) => h("img", { class: "pixels", src: uri, alt: t("training.peek.alt", { size: peek.size }) })));
  };
  watch("value", draw);
  draw();
};

Studio.why = (id, key) => document.getElementById(id)?.setAttribute("title", Studio.t(key));

// After Start: the Monitoring tab shows the new run.
Studio.followNew = async () => {
  const status = await Studio.get("/studio/status");
  if (status.live) Studio.place.set("run", status.name);
};

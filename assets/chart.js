// Live charts: plotly's own script, fed by polling. Plotly.react with a constant uirevision keeps the legend, and one a run keeps the zoom.
Studio.charts = {
  figures: {}, // chart id -> its newest figure
  run: "", // whose figures these are
  drawers: {},
  smooth: 0.9,
  log: false,
  seen: "",
  ask: () => {},
};

Studio.plotly = (() => {
  let ready = null; // one promise for the whole page: 4.8 MB are fetched when the first chart opens, not before
  return () =>
    (ready ||= new Promise((resolve, reject) => {
      const lost = (event) => {
        ready = null; // the studio may be restarting: the next chart tries again
        reject(event);
      };
      document.head.append(Studio.h("script", { src: Studio.plotlySource, onload: () => resolve(window.Plotly), onerror: lost }));
    }));
})();

// paint(figure, keep): draws a figure of pages/charts.py into `plot` in the page's colours. Zoom survives while `keep` is the same.
Studio.painter = (root, plot) => {
  // Figures name their inks ("accent", "faint"); the values are the page's CSS variables, light or dark.
  const ink = (name) => getComputedStyle(root).getPropertyValue("--studio-" + name).trim();
  const axis = (given, keep) => ({ ...given, uirevision: `${keep} ${given.uirevision ?? ""}`, gridcolor: ink("line"), linecolor: ink("line"), zeroline: false, tickfont: { color: ink("soft") }, title: { ...given.title, font: { color: ink("soft"), size: 12 } } });
  const dressed = (figure, keep) => ({
    data: figure.data.map((trace) => ({ ...trace, line: { ...trace.line, color: ink(trace.meta.ink) } })),
    layout: {
      ...figure.layout,
      ...Object.fromEntries(Object.keys(figure.layout).filter((key) => /^[xy]axis/.test(key)).map((key) => [key, axis(figure.layout[key], keep)])),
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink("text"), family: getComputedStyle(root).fontFamily, size: 12 },
      hoverlabel: { bgcolor: ink("card"), bordercolor: ink("line"), font: { color: ink("text") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: ink("soft"), activecolor: ink("accent") },
    },
  });

  const redraws = { last: null };
  const paint = async (figure, keep = "") => {
    redraws.last = () => paint(figure, keep);
    const Plotly = await Studio.plotly();
    const { data, layout } = dressed(figure, keep);
    await Plotly.react(plot, data, layout, {
      displaylogo: false,
      showSendToCloud: false, // plotly.js would offer an upload to its makers' server
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    });
  };
  // The plot is sized by us and not by plotly's `responsive`, which misses a tab that was hidden while the window changed.
  new ResizeObserver(() => plot.querySelector(".main-svg") && Studio.shown(plot) && window.Plotly.Plots.resize(plot)).observe(root);
  // Light and dark.
  new MutationObserver(() => redraws.last?.().catch(console.debug)).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  return paint;
};

Studio.chart = (element, id) => {
  const { t, h } = Studio;
  const root = element.querySelector(".chart");
  const plot = h("div", { class: "chart-plot", role: "img", "aria-label": t(`charts.${id}.name`) });
  const empty = h("p", { class: "empty" }, t("charts.empty"));
  root.append(h("div", { class: "chart-head" }, h("h3", {}, t("charts." + id)), h("span", { class: "hint" }, t("charts.zoom"))), empty, plot);

  const paint = Studio.painter(root, plot);
  const draw = async () => {
    const figure = Studio.charts.figures[id];
    const points = Boolean(figure && figure.data.some((trace) => trace.x.length));
    empty.hidden = points;
    plot.hidden = !points;
    if (!points) return;
    await paint(figure, Studio.charts.run);
  };
  Studio.charts.drawers[id] = draw;

  draw().catch(console.debug);
};

// Smoothing and log scale, kept for the browser tab; and the one poll that feeds both charts.
Studio.chartSettings = (element) => {
  const { t, h } = Studio;
  const charts = Studio.charts;
  const root = element.querySelector(".chart-settings");
  const kept = JSON.parse(sessionStorage.getItem("studio.charts") || "{}");
  Object.assign(charts, kept);
  const output = h("output", { for: "smoothing" }, charts.smooth.toFixed(2));
  const slider = h("input", { id: "smoothing", type: "range", min: 0, max: 0.99, step: 0.01, value: charts.smooth, title: t("charts.smoothing.why") });
  const box = h("input", { id: "log_scale", type: "checkbox", checked: charts.log, title: t("charts.log.why") });
  root.append(
    h("label", { title: t("charts.smoothing.why") }, t("charts.smoothing"), slider, output),
    h("label", { title: t("charts.log.why") }, box, t("charts.log")),
  );

  const changed = () => {
    charts.smooth = Number(slider.value);
    charts.log = box.checked;
    output.textContent = charts.smooth.toFixed(2);
    sessionStorage.setItem("studio.charts", JSON.stringify({ smooth: charts.smooth, log: charts.log }));
    charts.seen = "";
    ask();
  };
  slider.addEventListener("input", changed);
  box.addEventListener("change", changed);

  const ask = Studio.poll(root, 1500, async () => {
    const run = Studio.chosenRun();
    if (!run) return;
    const query = new URLSearchParams({ smooth: charts.smooth, log: charts.log ? 1 : 0, seen: charts.seen });
    const asked = charts.seen;
    const answer = await Studio.get(`/studio/charts/${encodeURIComponent(run)}?${query}`);
    // The person may have changed the run or a setting meanwhile: then this answer is stale.
    if (!answer || run !== Studio.chosenRun() || asked !== charts.seen) return;
    charts.seen = answer.seen;
    charts.figures = answer.figures;
    charts.run = run;
    try {
      await Promise.all(Object.values(charts.drawers).map((draw) => draw()));
    } catch (error) {
      charts.seen = ""; // nobody has: the next turn draws it
      throw error;
    }
  });
  Studio.place.watch("run", () => {
    charts.seen = "";
    charts.figures = {};
    if (!Studio.chosenRun()) Object.values(charts.drawers).forEach((draw) => draw().catch(console.debug));
    ask();
  });
};

// Draws the tables of numbers that ask for it: `<figure class="chart" data-chart="{…}">`. The same
// numbers are in a table behind each chart, which is what a page without scripts shows.
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const options = (figure, chart, width) => ({
    width,
    height: 180,
    cursor: { drag: { x: false, y: false } },
    legend: { live: true },
    axes: [
      {
        stroke: css("--chart-text"),
        grid: { stroke: css("--chart-grid") },
        ticks: { show: false },
        values: (_, ticks) => ticks.map((tick) => clock(tick).slice(11)),
      },
      {
        stroke: css("--chart-text"),
        grid: { stroke: css("--chart-grid") },
        ticks: { show: false },
        size: 56,
        values: (_, ticks) => ticks.map((tick) => tick.toLocaleString("en")),
      },
    ],
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    series: [
      { label: "Time", value: (_, seconds) => (seconds ? clock(seconds) : "–") },
      ...chart.series.map((series, index) => ({
        label: series.name,
        stroke: css(`--chart-${(index % 6) + 1}`),
        fill: css(`--chart-${(index % 6) + 1}`) + "22",
        width: 2,
        dash: [[], [6, 3], [2, 3], [8, 3, 2, 3], [12, 4], [3, 6]][index % 6],
        points: { show: false },
      })),
    ],
  });

  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");

  const draw = (figure) => {
    const chart = JSON.parse(figure.dataset.chart);
    const place = figure.querySelector(".plot");
    place.replaceChildren();
    const data = [chart.times, ...chart.series.map((series) => series.values)];
    const plot = new uPlot(options(figure, chart, place.clientWidth), data, place);
    plot.root.setAttribute("aria-hidden", "true");
    return plot;
  };

  const drawAll = () => {
    for (const figure of document.querySelectorAll("figure[data-chart]")) draw(figure);
  };

  document.addEventListener("DOMContentLoaded", drawAll);
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.querySelector("figure[data-chart]")) drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 200);
  });
})();

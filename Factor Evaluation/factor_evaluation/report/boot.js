"use strict";
(function () {
  var charts = [];
  var config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  var nothing = { annotations: [{ text: "no value at this horizon", xref: "paper", yref: "paper", x: 0.5, y: 0.5,
    showarrow: false }] };
  function isValue(value) { return Array.isArray(value) ? value.some(isValue) : value !== null; }
  function hasValue(trace) { return (trace.z || trace.y || [0]).some(isValue); }
  /* A heat map says its numbers where a cell has room for one beside the words and the bar of colours. */
  function fitted(trace, width) {
    var narrow = trace.texttemplate && (width - 150) / trace.x.length < 28;
    return narrow ? Object.assign({}, trace, { texttemplate: "" }) : trace;
  }
  function horizonOf(trace) { return trace.meta === undefined ? null : trace.meta; }
  function draw(chart, horizon) {
    var shown = chart.figure.data.filter(function (trace) {
      return horizonOf(trace) === null || horizonOf(trace) === horizon;
    }).map(function (trace) { return fitted(trace, chart.place.clientWidth); });
    var layout = shown.some(hasValue) ? chart.figure.layout : Object.assign({}, chart.figure.layout, nothing);
    return window.Plotly.react(chart.place, shown, layout, config);
  }
  function choose(horizon) {
    document.querySelectorAll("[data-horizon]").forEach(function (button) {
      button.setAttribute("aria-pressed", String(button.dataset.horizon === horizon));
    });
    charts.forEach(function (chart) { if (chart.byHorizon) { draw(chart, horizon); } });
    document.querySelectorAll(".horizon-now").forEach(function (place) { place.textContent = horizon; });
  }
  document.addEventListener("DOMContentLoaded", function () {
    if (!window.Plotly) {
      document.querySelectorAll(".no-plotly").forEach(function (note) { note.hidden = false; });
      return;
    }
    document.querySelectorAll("[data-chart]").forEach(function (place) {
      var block = document.getElementById("figure-" + place.dataset.chart);
      charts.push({ place: place, byHorizon: place.dataset.byHorizon === "yes", figure: JSON.parse(block.textContent) });
    });
    var first = document.querySelector("[data-horizon][aria-pressed=true]");
    var horizon = first ? first.dataset.horizon : null;
    charts.forEach(function (chart) { draw(chart, horizon); });
    document.querySelectorAll("[data-horizon]").forEach(function (button) {
      button.addEventListener("click", function () { choose(button.dataset.horizon); });
    });
    document.documentElement.dataset.drawn = "yes";
  });
})();

/* The filters beside the grid: a group per facet with a box per value and its count. */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;
  const { el, said, number } = imagebatch;
  const OPEN_AT_FIRST = ["state", "review", "cause", "warnings"];

  /* changed(name, values) is called when a box is ticked. */
  function Filters(element, changed) {
    this.element = element;
    this.changed = changed;
    this.opened = {};
  }

  Filters.prototype.draw = function (table, chosen) {
    const focused = document.activeElement && this.element.contains(document.activeElement) ? document.activeElement.id : "";
    const groups = [];
    for (const facet of imagebatch.facetsOf(table)) {
      const counts = imagebatch.countsOf(table, facet);
      const values = chosen[facet.name] || [];
      if (worthShowing(facet, counts, values)) groups.push(this.group(facet, counts || new Map(), values, groups.length));
    }
    this.element.replaceChildren(...groups);
    const again = focused && document.getElementById(focused);
    if (again) again.focus();
  };

  function worthShowing(facet, counts, values) {
    if (values.length) return true;
    if (!counts || !counts.size) return false;
    /* Where all rows say the same there is nothing to choose; what only some rows have is worth a box. */
    return counts.size > 1 || ["cause", "warnings", "reasons", "changed"].includes(facet.name);
  }

  Filters.prototype.group = function (facet, counts, values, place) {
    const all = new Set([...counts.keys()].map(String).concat(values));
    const ordered = [...all].sort((a, b) => (counts.get(b) || 0) - (counts.get(a) || 0) || (a < b ? -1 : 1));
    const boxes = ordered.map((value, index) => this.box(facet, value, counts.get(value) || 0, values, `f${place}-${index}`));
    const open = this.opened[facet.name] !== undefined ? this.opened[facet.name] : OPEN_AT_FIRST.includes(facet.name) || values.length > 0;
    const summary = imagebatch.text("summary", facet.own ? imagebatch.columnLabel(facet.name) : facet.label);
    summary.id = `f${place}`;
    const group = el("details", { class: "facet", open }, summary, el("div", { role: "group", "aria-labelledby": summary.id }, boxes));
    group.addEventListener("toggle", () => (this.opened[facet.name] = group.open));
    return group;
  };

  Filters.prototype.box = function (facet, value, count, values, id) {
    const box = el("input", { type: "checkbox", id });
    box.checked = values.includes(value);
    box.addEventListener("change", () => {
      this.changed(facet.name, box.checked ? values.concat(value) : values.filter((each) => each !== value));
    });
    const name = imagebatch.text("span", said(facet.name, value), "value");
    return el("label", { for: id, class: "choice" }, box, name, el("span", { class: "amount" }, number(count)));
  };

  /* What is chosen, as buttons that take it back. */
  Filters.prototype.chips = function (chosen) {
    const chips = [];
    for (const [name, values] of Object.entries(chosen)) {
      for (const value of values) {
        const words = imagebatch.text("span", said(name, value));
        const off = () => this.changed(name, values.filter((each) => each !== value));
        chips.push(el("button", { type: "button", class: "chip", onclick: off }, words, el("span", { class: "unseen" }, " (remove this filter)"), el("span", { "aria-hidden": "true" }, " ×")));
      }
    }
    return chips;
  };

  imagebatch.columnLabel = (name) => name.slice(2).replace(/_/g, " ");
  imagebatch.Filters = Filters;
})();

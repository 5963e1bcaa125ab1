/* The stage: one picture, or two of them side by side, under a slider, or in turn; fitted, or pixel by pixel. */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;
  const el = imagebatch.el;

  const MODES = { side: "Side by side", slider: "Slider", toggle: "In turn" };

  function Stage() {
    this.mode = "side";
    this.full = false;
    this.turned = false;
    this.second = null;
    this.left = pane();
    this.right = pane();
    this.range = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "How much of the other picture" });
    this.panes = el("div", { class: "panes" }, this.left.element, this.right.element);
    this.element = el("div", { class: "stage" }, this.panes, this.range);
    this.range.addEventListener("input", () => this.slide());
    this.left.box.addEventListener("scroll", () => follow(this.left.box, this.right.box), { passive: true });
    this.right.box.addEventListener("scroll", () => follow(this.right.box, this.left.box), { passive: true });
    this.panes.addEventListener("click", () => this.second && this.mode === "toggle" && this.turn());
  }

  /* The picture, and one to compare it with, or null: {src, alt, label}. */
  Stage.prototype.show = function (picture, second) {
    this.second = second;
    this.turned = false;
    fill(this.left, second);
    fill(this.right, picture);
    this.arrange();
  };

  Stage.prototype.setMode = function (mode) {
    this.mode = mode;
    this.arrange();
  };

  Stage.prototype.setFull = function (full) {
    this.full = full;
    this.arrange();
  };

  Stage.prototype.turn = function () {
    this.turned = !this.turned;
    this.arrange();
  };

  Stage.prototype.arrange = function () {
    const mode = this.second ? this.mode : "single";
    this.element.className = "stage " + mode + (this.full ? " full" : "");
    this.range.hidden = mode !== "slider";
    this.left.element.hidden = mode === "single" || (mode === "toggle" && !this.turned);
    this.right.element.hidden = mode === "toggle" && this.turned;
    for (const each of [this.left, this.right]) {
      if (this.full) each.box.setAttribute("tabindex", "0");
      else each.box.removeAttribute("tabindex");
    }
    this.slide();
  };

  Stage.prototype.slide = function () {
    const clip = this.mode === "slider" && this.second ? `inset(0 0 0 ${this.range.value}%)` : "";
    this.right.box.style.clipPath = clip;
  };

  function pane() {
    const image = el("img", { alt: "", decoding: "async" });
    const gone = el("p", { class: "gone", hidden: true });
    const box = el("div", { class: "box" }, image, gone);
    const label = el("figcaption", { class: "foreign", dir: "auto" });
    image.addEventListener("error", () => show(true));
    image.addEventListener("load", () => show(false));
    function show(failed) {
      image.hidden = failed;
      gone.hidden = !failed;
    }
    return { element: el("figure", { class: "pane" }, box, label), box, image, label, gone, show };
  }

  function fill(pane, picture) {
    pane.image.removeAttribute("src");
    pane.show(!picture || !picture.src);
    pane.label.textContent = picture ? picture.label : "";
    pane.gone.textContent = picture ? picture.missing || "This picture cannot be shown." : "";
    pane.image.alt = picture ? picture.alt : "";
    pane.box.setAttribute("role", "group");
    pane.box.setAttribute("aria-label", picture ? picture.label : "Picture");
    if (picture && picture.src) pane.image.src = picture.src;
  }

  function follow(from, to) {
    if (to.scrollLeft !== from.scrollLeft) to.scrollLeft = from.scrollLeft;
    if (to.scrollTop !== from.scrollTop) to.scrollTop = from.scrollTop;
  }

  imagebatch.Stage = Stage;
  imagebatch.MODES = MODES;
})();

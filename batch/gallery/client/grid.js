/* A list of any length in a few elements: cells of one size, placed by arithmetic and used again and again. */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;
  const GAP = 16;
  const WORDS_HEIGHT = 54;
  const WIDEST = 208;
  const NARROWEST = 150;
  const SPARE_LINES = 1;
  /* Browsers cap an element's height, some at 11 million pixels on a phone; above this, the bar is a scale. */
  const MOST_PIXELS = 6e6;
  /* Until it rests, whatever moves faster than so many heights of the view per frame gets no pictures. */
  const FLING = 0.9;
  const REST_MS = 110;

  /* make() returns an empty cell; bind(cell, index, withPicture) fills it; open(index) is called on Enter and click. */
  function Grid(scroller, list, { make, bind, open }) {
    Object.assign(this, { scroller, list, make, bind, open });
    this.count = 0;
    this.active = 0;
    this.cells = [];
    this.top = 0;
    this.lastScroll = 0;
    this.resting = 0;
    this.flinging = false;
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    list.addEventListener("click", (event) => this.clicked(event));
    list.addEventListener("keydown", (event) => this.pressed(event));
    list.addEventListener("focusin", (event) => this.focused(event));
    if (window.ResizeObserver) new ResizeObserver(() => this.resized()).observe(scroller);
    this.measure();
  }

  Grid.prototype.measure = function () {
    const style = getComputedStyle(this.list);
    this.width = this.list.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    this.left = parseFloat(style.paddingLeft);
    this.height = this.scroller.clientHeight;
    const narrow = this.width < 560;
    this.columns = Math.max(2, Math.floor((this.width + GAP) / ((narrow ? NARROWEST : WIDEST) + GAP)));
    this.cellWidth = Math.max(40, Math.floor((this.width - GAP * (this.columns - 1)) / this.columns));
    this.lineHeight = this.cellWidth + WORDS_HEIGHT + GAP;
    this.setHeight();
  };

  Grid.prototype.setHeight = function () {
    this.fullHeight = Math.ceil(this.count / this.columns) * this.lineHeight;
    this.barHeight = Math.min(this.fullHeight, MOST_PIXELS);
    this.list.style.height = this.barHeight + "px";
  };

  /* Shows so many items, from the first one on unless `stay`. */
  Grid.prototype.show = function (count, stay) {
    this.count = count;
    this.setHeight();
    if (!stay) {
      this.active = 0;
      this.scrollTo(0);
    }
    this.active = Math.max(0, Math.min(this.active, count - 1));
    this.cells.forEach((cell) => (cell.index = -1));
    this.draw();
  };

  Grid.prototype.resized = function () {
    const first = Math.floor(this.top / this.lineHeight) * this.columns;
    this.measure();
    this.cells.forEach((cell) => (cell.index = -1));
    this.scrollTo(Math.floor(first / this.columns) * this.lineHeight);
    this.draw();
  };

  Grid.prototype.scale = function () {
    const bar = this.barHeight - this.height;
    return bar > 0 ? (this.fullHeight - this.height) / bar : 1;
  };

  /* Where the view begins in the full height; moves the bar to where that is on its scale. */
  Grid.prototype.scrollTo = function (top) {
    this.top = Math.max(0, Math.min(top, this.fullHeight - this.height));
    this.scroller.scrollTop = this.top / this.scale();
    this.lastScroll = this.scroller.scrollTop;
  };

  Grid.prototype.scrolled = function () {
    const at = this.scroller.scrollTop;
    const moved = at - this.lastScroll;
    if (!moved) return;
    this.lastScroll = at;
    const isAtEnd = at <= 0 || at >= this.barHeight - this.height - 1;
    /* A small step moves by as much as it seems to; dragging the bar, and its ends, go by the scale. */
    const near = Math.abs(moved) < 2 * this.height && !isAtEnd;
    this.top = near ? Math.max(0, Math.min(this.top + moved, this.fullHeight - this.height)) : at * this.scale();
    this.flinging = Math.abs(moved) > FLING * this.height;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rested(), REST_MS);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  };

  Grid.prototype.rested = function () {
    this.flinging = false;
    if (this.scale() > 1) this.scrollTo(this.top);
    this.draw();
  };

  Grid.prototype.draw = function () {
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = 0;
    const lines = Math.ceil(this.height / this.lineHeight) + 1 + 2 * SPARE_LINES;
    const firstLine = Math.max(0, Math.floor(this.top / this.lineHeight) - SPARE_LINES);
    this.setCells(Math.min(this.count, lines * this.columns));
    const first = firstLine * this.columns;
    const shift = this.lastScroll - this.top;
    for (let index = first; index < first + this.cells.length; index += 1) {
      this.place(this.cells[index % this.cells.length], index, shift);
    }
  };

  Grid.prototype.setCells = function (wanted) {
    while (this.cells.length < wanted) {
      const cell = this.make();
      cell.index = -1;
      this.cells.push(cell);
      this.list.append(cell.element);
      this.cells.forEach((each) => (each.index = -1));
    }
    while (this.cells.length > wanted) {
      this.cells.pop().element.remove();
      this.cells.forEach((each) => (each.index = -1));
    }
  };

  Grid.prototype.place = function (cell, index, shift) {
    if (index >= this.count) {
      cell.index = -1;
      cell.element.hidden = true;
      return;
    }
    const x = this.left + (index % this.columns) * (this.cellWidth + GAP);
    const y = Math.floor(index / this.columns) * this.lineHeight + shift;
    if (cell.x !== x || cell.y !== y) {
      cell.element.style.transform = `translate(${x}px, ${y}px)`;
      cell.x = x;
      cell.y = y;
    }
    if (cell.width !== this.cellWidth) {
      cell.element.style.width = this.cellWidth + "px";
      cell.width = this.cellWidth;
    }
    const needsPicture = !this.flinging && !cell.hasPicture;
    if (cell.index === index && !needsPicture) return;
    const held = cell.index !== index && cell.element.contains(document.activeElement);
    cell.element.hidden = false;
    this.bind(cell, index, !this.flinging);
    cell.hasPicture = !this.flinging;
    cell.index = index;
    cell.link.tabIndex = index === this.active ? 0 : -1;
    cell.element.setAttribute("aria-setsize", this.count);
    cell.element.setAttribute("aria-posinset", index + 1);
    /* The element that had the focus shows something else now; keys go on from the item that had it. */
    if (held && index !== this.active) this.scroller.focus({ preventScroll: true });
  };

  /* Fills the cells that show these items anew. */
  Grid.prototype.renew = function () {
    this.cells.forEach((cell) => (cell.index = -1));
    this.draw();
  };

  Grid.prototype.clicked = function (event) {
    const cell = this.cellAround(event.target);
    if (!cell || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.setActive(cell.index);
    this.open(cell.index, event);
  };

  Grid.prototype.focused = function (event) {
    const cell = this.cellAround(event.target);
    if (cell && cell.index >= 0) this.setActive(cell.index);
  };

  Grid.prototype.cellAround = function (element) {
    return this.cells.find((cell) => cell.index >= 0 && cell.element.contains(element));
  };

  Grid.prototype.setActive = function (index) {
    this.active = index;
    this.cells.forEach((cell) => (cell.link.tabIndex = cell.index === index ? 0 : -1));
  };

  Grid.prototype.pressed = function (event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.height / this.lineHeight)) * this.columns;
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: this.columns,
      ArrowUp: -this.columns,
      PageDown: page,
      PageUp: -page,
      Home: -this.count,
      End: this.count,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.moveTo(this.active + steps[event.key]);
  };

  /* Makes an item the active one, scrolls to it and gives it the focus. */
  Grid.prototype.moveTo = function (index, focus = true) {
    const wanted = Math.max(0, Math.min(index, this.count - 1));
    const y = Math.floor(wanted / this.columns) * this.lineHeight;
    if (y < this.top) this.scrollTo(y);
    else if (y + this.lineHeight > this.top + this.height) this.scrollTo(y + this.lineHeight - this.height);
    this.setActive(wanted);
    this.draw();
    const cell = this.cells.find((each) => each.index === wanted);
    if (cell && focus) cell.link.focus({ preventScroll: true });
  };

  imagebatch.Grid = Grid;
})();

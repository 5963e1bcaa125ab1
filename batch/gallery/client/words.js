/* How things are called and written, and how elements are made. Text is only ever set as text. */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;

  const WORDS = {
    state: {
      done: "Done",
      failed: "Failed",
      unknown: "Unknown, maybe paid",
      pending: "Pending",
      missing: "File missing",
      altered: "File altered",
    },
    review: { accepted: "Accepted", rejected: "Rejected", seen: "Seen, not judged", unseen: "Not seen yet" },
    side: { person: "A person", machine: "A machine" },
    changed: { several: "Several versions" },
    drawn: { simulated: "Simulator" },
    warnings: {
      another_shape: "Another shape",
      smaller: "Smaller",
      larger: "Larger",
      blank: "Blank",
      same_as_reference: "Same as a reference",
      same_as_another: "Same as another job's",
      damaged_beside: "Something damaged beside it",
      finish_reason: "Odd finish reason",
      several_candidates: "Several candidates",
      caption_cut: "Caption cut short",
      unusual_format: "Unusual format",
      damaged_file: "Damaged file, pixels whole",
      trailing_bytes: "Followed by other bytes",
      declared_type: "Declared as another type",
      address_passed_over: "Addresses that led to none",
      other: "Odd in another way",
    },
  };

  function said(kind, value) {
    const words = WORDS[kind] && Object.prototype.hasOwnProperty.call(WORDS[kind], value) ? WORDS[kind][value] : "";
    if (words) return words;
    return kind === "cause" ? String(value).replace(/_/g, " ") : String(value);
  }

  function money(usd) {
    if (!usd) return "$0";
    return "$" + Number(usd).toFixed(usd && usd < 0.01 ? 4 : usd < 100 ? 3 : 2);
  }

  function number(count) {
    return Number(count).toLocaleString("en-US");
  }

  function size(bytes) {
    return bytes < 1e6 ? Math.max(1, Math.round(bytes / 1e3)) + " kB" : (bytes / 1e6).toFixed(1) + " MB";
  }

  function moment(text) {
    return text ? text.slice(0, 19).replace("T", " ") + " UTC" : "";
  }

  /* An element with attributes and children. Strings become text nodes; nothing is ever parsed as HTML. */
  function el(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "onclick") element.addEventListener("click", value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) element.append(child);
    }
    return element;
  }

  /* Foreign text: its direction is its own and reaches no further. */
  function text(tag, content, name) {
    return el(tag, { class: name ? name + " foreign" : "foreign", dir: "auto" }, String(content));
  }

  /* The address of a file below a folder, whatever its name holds. */
  function address(base, path) {
    return base + path.split("/").map(encodeURIComponent).join("/");
  }

  function smallCopy(folder, sha) {
    return folder + "/" + sha.slice(0, 2) + "/" + sha + ".webp";
  }

  Object.assign(imagebatch, { said, money, number, size, moment, el, text, address, smallCopy });
})();

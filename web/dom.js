// The few operations on elements that every view uses.
// @ts-check

/** @param {string} id of an element in index.html */
export function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {string} className @param {string} [text]
 */
export function make(tag, className, text = '') {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== '') made.textContent = text;
  return made;
}

/** Writes only if the text changed, so that the browser has no work otherwise. */
export function setText(/** @type {Node} */ node, /** @type {string} */ text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(/** @type {Element} */ node, /** @type {string} */ name, /** @type {string} */ value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export function setHidden(/** @type {HTMLElement} */ node, /** @type {boolean} */ hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

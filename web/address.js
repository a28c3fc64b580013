// The view in the page's address: ?l=7001&w=5m. Omits defaults and keeps parameters of others.
// @ts-check

/** @typedef {{location: string, window: string}} View `location` is an oid or "all" */

const WINDOW = /^(today|[1-9]\d{0,5}[smh])$/;
const OID = /^-?\d{1,19}$/;
export const DEFAULT_VIEW = /** @type {View} */ ({ location: 'all', window: '5m' });

/** @param {string} search @returns {View} invalid values are ignored */
export function viewOf(search) {
  const parameters = new URLSearchParams(search);
  const location = parameters.get('l') ?? '';
  const window = parameters.get('w') ?? '';
  return {
    location: OID.test(location) ? location : DEFAULT_VIEW.location,
    window: WINDOW.test(window) ? window : DEFAULT_VIEW.window,
  };
}

/** @param {string} search the present query of the address @param {View} view */
export function searchOf(search, view) {
  const parameters = new URLSearchParams(search);
  for (const [name, value, left] of [
    ['l', view.location, DEFAULT_VIEW.location],
    ['w', view.window, DEFAULT_VIEW.window],
  ]) {
    if (value === left) parameters.delete(name);
    else parameters.set(name, value);
  }
  const query = parameters.toString();
  return query === '' ? '' : `?${query}`;
}

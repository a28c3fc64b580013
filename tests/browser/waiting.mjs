// What a test file waits for. A call of the browser that never answers becomes a failure that names it,
// and a file that does not end says what it stands at: under load a run once hung without a word.

const CALL_MS_MAX = 90_000; // beyond every limit that a call has of its own
const FILE_MS_MAX = 600_000;

/** @type {Map<object, {what: string, since: number}>} */
const pending = new Map();

/** `promise`, or after CALL_MS_MAX an error that says `what`. @template T @param {string} what @param {Promise<T>} promise */
export async function waiting(what, promise, limitMs = CALL_MS_MAX) {
  const key = {};
  pending.set(key, { what, since: Date.now() });
  /** @type {ReturnType<typeof setTimeout>|undefined} */ let timer;
  try {
    return await Promise.race([promise, new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer after ${limitMs / 1000} s: ${what}`)), limitMs);
    })]);
  } finally {
    clearTimeout(timer);
    pending.delete(key);
  }
}

/**
 * `object`, each of its asynchronous calls under waiting(); so are those of what `inside` names.
 * @template {object} T @param {string} name @param {T} object @param {string[]} inside @returns {T}
 */
export function bounded(name, object, inside = []) {
  const parts = Object.fromEntries(inside.map((part) => [part, bounded(`${name}.${part}`, object[part])]));
  return new Proxy(object, {
    get(target, key) {
      if (typeof key === 'string' && Object.hasOwn(parts, key)) return parts[key];
      const value = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...from) => {
        const result = value.apply(target, from);
        return result instanceof Promise ? waiting(`${name}.${String(key)}(${from.map(brief).join(', ')})`, result) : result;
      };
    },
  });
}

function brief(argument) {
  const text = typeof argument === 'function' ? String(argument) : JSON.stringify(argument) ?? String(argument);
  return text.replace(/\s+/g, ' ').slice(0, 100);
}

setTimeout(() => {
  const now = Date.now();
  const list = [...pending.values()].map(({ what, since }) => `  for ${Math.round((now - since) / 1000)} s: ${what}\n`);
  process.stderr.write(`not done after ${FILE_MS_MAX / 1000} s; waiting\n${list.join('') || '  for nothing that is known\n'}`);
  process.exit(1);
}, FILE_MS_MAX).unref();

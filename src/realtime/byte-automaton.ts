/** Bytes of all patterns together that one automaton takes: about 14 bytes of memory each. */
export const MAX_PATTERN_BYTES = 6 * 1024 * 1024;
/** States with a full row of transitions: the shallow ones, where nearly all the time is spent. */
const DENSE_STATES = 2048;

/**
 * Aho–Corasick over bytes. States are numbered breadth-first (0 is the root), so that a state's children lie side by
 * side and its failure state has a lower number. Immutable once built: any number of streams share it.
 */
export type ByteAutomaton = {
  /** `next[state * 256 + byte]`, failures followed, of the states below `denseStates`. */
  next: Int32Array;
  denseStates: number;
  /** Children of a state: from `firstChild[state]` to before `firstChild[state + 1]`, reached by `label[child]`. */
  firstChild: Int32Array;
  label: Uint8Array;
  /** The longest proper suffix of a state that is a state too. */
  failure: Int32Array;
  /** Length of the longest pattern that ends in a state, 0 where none does. */
  longest: Int32Array;
  /** First state of each depth. */
  levels: Int32Array;
};

/** Throws a RangeError when the patterns take more than MAX_PATTERN_BYTES. */
export function compileAutomaton(patterns: readonly Uint8Array[]): ByteAutomaton {
  const sorted = patterns.toSorted(Buffer.compare);
  const total = sorted.reduce((sum, pattern) => sum + pattern.length, 0);
  if (total > MAX_PATTERN_BYTES) throw new RangeError(`patterns of ${total} bytes exceed ${MAX_PATTERN_BYTES}`);
  const firstChild = new Int32Array(total + 2);
  const label = new Uint8Array(total + 1);
  const failure = new Int32Array(total + 1);
  const longest = new Int32Array(total + 1);
  // A state is the range of sorted patterns that begin with it.
  const rangeStart = new Int32Array(total + 1);
  const rangeEnd = new Int32Array(total + 1);
  rangeEnd[0] = sorted.length;
  const levels = [0, 1];
  let count = 1;
  for (let depth = 0; levels[depth]! < count; depth++) {
    for (let state = levels[depth]!; state < levels[depth + 1]!; state++) {
      firstChild[state] = count;
      let from = rangeStart[state]!;
      const end = rangeEnd[state]!;
      while (from < end && sorted[from]!.length === depth) from++;
      while (from < end) {
        const byte = sorted[from]![depth]!;
        const child = count++;
        rangeStart[child] = from;
        while (from < end && sorted[from]![depth] === byte) from++;
        rangeEnd[child] = from;
        label[child] = byte;
        failure[child] = state === 0 ? 0 : step(firstChild, label, failure, failure[state]!, byte);
        const ends = sorted[rangeStart[child]!]!.length === depth + 1;
        longest[child] = ends ? depth + 1 : longest[failure[child]!]!;
      }
    }
    levels.push(count);
  }
  firstChild[count] = count;
  const states = { firstChild: firstChild.slice(0, count + 1), label: label.slice(0, count) };
  const links = { failure: failure.slice(0, count), longest: longest.slice(0, count), levels: Int32Array.from(levels) };
  const denseStates = Math.min(count, DENSE_STATES);
  return {
    ...states,
    ...links,
    denseStates,
    next: denseRows(states.firstChild, states.label, links.failure, denseStates),
  };
}

function denseRows(firstChild: Int32Array, label: Uint8Array, failure: Int32Array, count: number): Int32Array {
  const next = new Int32Array(count * 256);
  for (let state = 0; state < count; state++) {
    const row = state * 256;
    if (state > 0) next.copyWithin(row, failure[state]! * 256, failure[state]! * 256 + 256);
    for (let child = firstChild[state]!; child < firstChild[state + 1]!; child++) next[row + label[child]!] = child;
  }
  return next;
}

/** The next state by tries and failures alone. */
function step(firstChild: Int32Array, label: Uint8Array, failure: Int32Array, start: number, byte: number): number {
  for (let state = start; ; state = failure[state]!) {
    for (let child = firstChild[state]!; child < firstChild[state + 1]!; child++) {
      if (label[child] === byte) return child;
    }
    if (state === 0) return 0;
  }
}

/** The next state of one beyond the dense rows. */
export function sparseStep(automaton: ByteAutomaton, start: number, byte: number): number {
  const { firstChild, label, failure, denseStates, next } = automaton;
  let state = start;
  while (state >= denseStates) {
    const end = firstChild[state + 1]!;
    for (let child = firstChild[state]!; child < end; child++) if (label[child] === byte) return child;
    state = failure[state]!;
  }
  return next[state * 256 + byte]!;
}

/** How many of the last bytes read may still begin a match that is not complete or can grow. */
export function openSuffix(automaton: ByteAutomaton, start: number): number {
  const { firstChild, failure, levels } = automaton;
  let state = start;
  while (state > 0 && firstChild[state] === firstChild[state + 1]) state = failure[state]!;
  let [low, high] = [0, levels.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (levels[middle]! <= state) low = middle;
    else high = middle - 1;
  }
  return low;
}

import type { LogPlace } from './log-chunk.ts';

/** Of a log whose last lines are held back, a mark is kept each so many bytes: what is read again from one is left out. */
const SPACING_BYTES = 4 * 1024;

/** The places at which a runtime can take up its log again. */
export class LogMarks {
  /** In the order of positions. */
  #places: LogPlace[];
  #last: LogPlace;

  constructor(start: LogPlace) {
    this.#places = [start];
    this.#last = start;
  }

  add(place: LogPlace): void {
    this.#last = place;
    if (place.position - this.#places.at(-1)!.position >= SPACING_BYTES) this.#places.push(place);
  }

  /** Where to begin so that everything from `floor` on is read. Never asked for an earlier floor again. */
  startOf(floor: number): LogPlace {
    // A runtime that gives no marks begins anywhere.
    if (this.#last.mark === null) return { position: floor, mark: null };
    if (this.#last.position <= floor) {
      this.#places = [this.#last];
      return this.#last;
    }
    const index = this.#places.findLastIndex(({ position }) => position <= floor);
    this.#places.splice(0, Math.max(0, index));
    return this.#places[0]!;
  }
}

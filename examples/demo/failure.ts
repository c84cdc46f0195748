/** Something that the person at the terminal can mend; the message says how. */
export class DemoFailure extends Error {
  override name = 'DemoFailure';
}

/** It was not sent. The message is for users. */
export class SendError extends Error {
  override name = 'SendError';
  /** Whether another attempt may succeed. */
  readonly isTransient: boolean;
  /** How long the receiver wants to be left alone. */
  readonly retryAfterMs: number;
  constructor(message: string, isTransient: boolean, retryAfterMs = 0) {
    super(message);
    this.isTransient = isTransient;
    this.retryAfterMs = retryAfterMs;
  }
}

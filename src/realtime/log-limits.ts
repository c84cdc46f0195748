/** How many lines a batch has at most. */
export const FOLLOW_BATCH_LINES = 500;
/** Of JSON, roughly; one longer line comes alone. */
export const FOLLOW_BATCH_BYTES = 128 * 1024;
/** Without a wake-up the log is looked at anyway; as often the reader's position moves past lines that its filter leaves out. */
export const HEARTBEAT_MS = 5_000;

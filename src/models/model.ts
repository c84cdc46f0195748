/** A JSON Schema, draft-07. */
export type JsonSchema = Record<string, unknown>;

export type ToolCall = { id: string; name: string; input: unknown };

/** What was said so far, as JSON: runs store it between their turns. */
export type Message =
  | { role: 'user'; text: string }
  | { role: 'assistant'; text: string; toolCalls: ToolCall[] }
  | { role: 'tool'; callId: string; toolName: string; output: unknown };

export type ToolDeclaration = { name: string; description: string; inputSchema: JsonSchema };

/** One turn: all that the model is told before it answers or asks for tools. */
export type Turn = {
  instructions: string | null;
  messages: readonly Message[];
  tools: readonly ToolDeclaration[];
  /** 0–2; absent: the model's own. */
  temperature?: number;
  /** Tokens that it may answer with; absent: the model's own. */
  maxTokens?: number;
  /** What its answer should match, where the server can see to that. */
  outputSchema?: JsonSchema;
};

export type TokenUsage = { inputTokens: number; outputTokens: number };
export type TurnResult = {
  text: string;
  toolCalls: ToolCall[];
  usage: TokenUsage;
  /** The answer ended at `maxTokens`, or at the model's own limit; absent: where the model wanted. */
  isCut?: true;
};

export type TurnOptions = {
  /** Ends the request itself: the connection to the model is closed. */
  signal: AbortSignal;
  /** Is told each piece of the answer as it comes; the model is read on once it is done with that. */
  onText(text: string): unknown;
};

export type Model = {
  /** @throws {ModelError} for whatever the model or its server did wrong; the signal's reason where that aborted */
  takeTurn(turn: Turn, options: TurnOptions): Promise<TurnResult>;
};

/** The text without the secret, in whatever form a server would say that. */
export type Mask = (text: string, secret: string) => string;

type ModelErrorDetails = {
  isTransient?: boolean;
  isOutage?: boolean;
  retryAfterMs?: number | null;
  usage?: TokenUsage;
  cause?: unknown;
};

/** The model did not answer as it should. The message is for users: what happened, and what to do. */
export class ModelError extends Error {
  override name = 'ModelError';
  /** Whether the same request may succeed a little later. */
  readonly isTransient: boolean;
  /** Whether the server fails, whoever asks it: neither a key nor what it was asked is at fault. */
  readonly isOutage: boolean;
  /** What the server asked to be left alone for; null: it did not say. */
  readonly retryAfterMs: number | null;
  /** What was used in vain. */
  readonly usage: TokenUsage | undefined;
  constructor(message: string, details: ModelErrorDetails = {}) {
    const { isTransient = false, isOutage = false, retryAfterMs = null, cause, usage } = details;
    super(message, { cause });
    this.usage = usage;
    this.isTransient = isTransient;
    this.isOutage = isOutage;
    this.retryAfterMs = retryAfterMs;
  }
}

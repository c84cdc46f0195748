/** Every bound of the GraphQL endpoint. What exceeds one is refused before anything is executed. */

/** Nested selections, fragments followed. */
export const MAX_DEPTH = 12;
/** The introspection query of GraphiQL nests ofType deeper than any query of ours. */
export const MAX_INTROSPECTION_DEPTH = 16;
/** Aliased fields of an operation, counted as often as their fragments are spread. */
export const MAX_ALIASES = 50;
/** Lexical tokens of a document: a bound on the parser's work. */
export const MAX_TOKENS = 4_000;
/** Root fields of an operation. */
export const MAX_ROOT_FIELDS = 20;
/** Fields times the nodes asked for. */
export const MAX_COMPLEXITY = 20_000;
/** What a plain list counts as, for what is selected beneath it. */
export const LIST_MULTIPLIER = 5;
/** A compose file of 1 MiB, in JSON escapes. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** Nesting of a JSON value in the variables. */
export const MAX_JSON_DEPTH = 32;

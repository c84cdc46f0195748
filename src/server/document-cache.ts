/** Documents that are kept parsed, and how long such a text may be: a compose file written into a document is used once. */
const MAX_DOCUMENTS = 500;
const MAX_DOCUMENT_LENGTH = 16_384;

/** The least recently used go first. */
export function createDocumentCache<Value>() {
  const entries = new Map<string, Value>();
  return {
    get(text: string): Value | undefined {
      const value = entries.get(text);
      if (value !== undefined) {
        entries.delete(text);
        entries.set(text, value);
      }
      return value;
    },
    set(text: string, value: Value): void {
      if (text.length > MAX_DOCUMENT_LENGTH) return;
      entries.set(text, value);
      if (entries.size > MAX_DOCUMENTS) entries.delete(entries.keys().next().value!);
    },
  };
}

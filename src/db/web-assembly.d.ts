/** The part of the WebAssembly API that the schema engine's loader uses; TypeScript declares it for browsers alone. */
declare namespace WebAssembly {
  function instantiate(
    bytes: Uint8Array,
    imports: Record<string, unknown>,
  ): Promise<{ instance: { exports: Record<string, unknown> } }>;
}

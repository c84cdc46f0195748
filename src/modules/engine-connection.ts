/** Wakes the servers: the endpoint of a container engine came, went or changed. */
export const ENGINES_TOPIC = 'engines';

/** What the ciphertext of a host's connection is bound to. */
export const connectionContext = (hostId: string): string => `host-connection:${hostId}`;

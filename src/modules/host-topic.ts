/** The topic that wakes the lease holder of a host: there is something to do. */
export const hostTopic = (hostId: string): string => `host:${hostId}`;

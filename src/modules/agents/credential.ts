import type { Keyring } from '../../shared/crypto.ts';

const contextOf = (agentId: string): string => `agents:${agentId}`;

/** An agent's key for its provider, as it is stored. */
export function sealCredential(keyring: Keyring, agentId: string, credential: string): string {
  return keyring.encrypt(credential, contextOf(agentId));
}

/** The key itself, for a request to the provider alone; null: the agent has none of its own. */
export function openCredential(keyring: Keyring, agent: { id: string; credential: string | null }): string | null {
  return agent.credential === null ? null : keyring.decrypt(agent.credential, contextOf(agent.id));
}

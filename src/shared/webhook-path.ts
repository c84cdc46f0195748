/** Under it, the global ID of a workflow: where signed requests begin a run. */
export const WEBHOOK_PATH = '/webhooks/workflows/';

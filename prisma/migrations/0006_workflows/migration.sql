CREATE TYPE "ExecutionTrigger" AS ENUM ('MANUAL', 'RETRY', 'WORKFLOW', 'SCHEDULE', 'EVENT', 'WEBHOOK');

CREATE TABLE "workflows" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "schedule" TEXT,
    "webhook_secret" TEXT,
    "created_by_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "workflows_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "workflow_versions" (
    "id" UUID NOT NULL,
    "workflow_id" UUID NOT NULL,
    "version" INTEGER NOT NULL,
    "definition" JSONB NOT NULL,
    "created_by_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "workflow_versions_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "workflows_organization_id_name_key" ON "workflows"("organization_id", "name");

CREATE UNIQUE INDEX "workflow_versions_workflow_id_version_key" ON "workflow_versions"("workflow_id", "version");

ALTER TABLE "workflows" ADD CONSTRAINT "workflows_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "workflows" ADD CONSTRAINT "workflows_created_by_id_fkey" FOREIGN KEY ("created_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "workflow_versions" ADD CONSTRAINT "workflow_versions_workflow_id_fkey" FOREIGN KEY ("workflow_id") REFERENCES "workflows"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "workflow_versions" ADD CONSTRAINT "workflow_versions_created_by_id_fkey" FOREIGN KEY ("created_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "executions"
    ADD COLUMN "trigger" "ExecutionTrigger" NOT NULL DEFAULT 'MANUAL',
    ADD COLUMN "workflow_id" UUID,
    ADD COLUMN "workflow_version" INTEGER,
    ADD COLUMN "parent_step" TEXT,
    ADD COLUMN "concurrency_key" TEXT;

ALTER TABLE "executions" ADD CONSTRAINT "executions_workflow_id_fkey" FOREIGN KEY ("workflow_id") REFERENCES "workflows"("id") ON DELETE SET NULL ON UPDATE CASCADE;

CREATE INDEX "executions_workflow_id_created_at_id_idx" ON "executions"("workflow_id", "created_at", "id");

-- A step begins one execution, however often it is carried out.
DROP INDEX "executions_parent_id_idx";

CREATE UNIQUE INDEX "executions_parent_id_parent_step_key" ON "executions"("parent_id", "parent_step");

-- Whose turn it is.
CREATE INDEX "executions_one_at_a_time" ON "executions"("workflow_id", "concurrency_key", "created_at", "id") WHERE "concurrency_key" IS NOT NULL AND "finished_at" IS NULL;

ALTER TABLE "execution_steps"
    ADD COLUMN "waits_for" TEXT,
    ADD COLUMN "failures" INTEGER NOT NULL DEFAULT 0;

CREATE INDEX "execution_steps_waiting_for" ON "execution_steps"("waits_for") WHERE "waits_for" IS NOT NULL AND "state" = 'WAITING';

-- What may have been begun for nothing.
CREATE INDEX "executions_unfinished_children" ON "executions"("parent_id") WHERE "parent_id" IS NOT NULL AND "finished_at" IS NULL;

CREATE TABLE "workflow_triggers" (
    "id" UUID NOT NULL,
    "workflow_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "kind" TEXT NOT NULL,
    "event_type" TEXT,
    "next_at" TIMESTAMPTZ(3),

    CONSTRAINT "workflow_triggers_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "workflow_triggers_workflow_id_position_key" ON "workflow_triggers"("workflow_id", "position");

CREATE INDEX "workflow_triggers_next_at_idx" ON "workflow_triggers"("next_at");

CREATE INDEX "workflow_triggers_event_type_idx" ON "workflow_triggers"("event_type");

ALTER TABLE "workflow_triggers" ADD CONSTRAINT "workflow_triggers_workflow_id_fkey" FOREIGN KEY ("workflow_id") REFERENCES "workflows"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Up to which event of an organization workflows and the steps that wait for one have been told.
CREATE TABLE "workflow_event_cursors" (
    "organization_id" UUID NOT NULL,
    "last_sequence" BIGINT NOT NULL,

    CONSTRAINT "workflow_event_cursors_pkey" PRIMARY KEY ("organization_id"),
    CONSTRAINT "workflow_event_cursors_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE
);

-- Requests from outside that began a run, so that a repeated one begins none.
CREATE TABLE "workflow_webhook_requests" (
    "workflow_id" UUID NOT NULL,
    "request_id" TEXT NOT NULL,
    "execution_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "workflow_webhook_requests_pkey" PRIMARY KEY ("workflow_id", "request_id"),
    CONSTRAINT "workflow_webhook_requests_workflow_id_fkey" FOREIGN KEY ("workflow_id") REFERENCES "workflows"("id") ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE INDEX "workflow_webhook_requests_created_at_idx" ON "workflow_webhook_requests"("created_at");

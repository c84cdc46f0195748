-- What retention looks for.
CREATE INDEX "executions_finished" ON "executions"("finished_at") WHERE "finished_at" IS NOT NULL;

BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO runs VALUES('de19a94105fd41e99da04515b6b7b8ac','skittish-stork-81','UNKNOWN','','','root','FINISHED',1796035973201,1796035974037,'','active','mlruns/1/de19a94105fd41e99da04515b6b7b8ac/artifacts',1,NULL);
INSERT INTO runs VALUES('ac486c5f5ebd48f79cc6b1516be23d38','entertaining-fly-354','UNKNOWN','','','root','FINISHED',1796035974081,1796035974445,'','active','mlruns/1/ac486c5f5ebd48f79cc6b1516be23d38/artifacts',1,NULL);
CREATE TABLE IF NOT EXISTS "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO metrics VALUES('train/loss',2.0,1796035973774,'de19a94105fd41e99da04515b6b7b8ac',0,0);
INSERT INTO metrics VALUES('accuracy',0.5,1796035973825,'de19a94105fd41e99da04515b6b7b8ac',0,0);
INSERT INTO metrics VALUES('train/loss',1.0,1796035973861,'de19a94105fd41e99da04515b6b7b8ac',1,0);
INSERT INTO metrics VALUES('accuracy',0.5,1796035973905,'de19a94105fd41e99da04515b6b7b8ac',1,0);
INSERT INTO metrics VALUES('train/loss',0.5,1796035973945,'de19a94105fd41e99da04515b6b7b8ac',2,0);
INSERT INTO metrics VALUES('accuracy',0.5,1796035973995,'de19a94105fd41e99da04515b6b7b8ac',2,0);
INSERT INTO metrics VALUES('train/loss',2.5,1796035974178,'ac486c5f5ebd48f79cc6b1516be23d38',0,0);
INSERT INTO metrics VALUES('accuracy',0.5,1796035974217,'ac486c5f5ebd48f79cc6b1516be23d38',0,0);
INSERT INTO metrics VALUES('train/loss',5.0,1796035974257,'ac486c5f5ebd48f79cc6b1516be23d38',1,0);
INSERT INTO metrics VALUES('accuracy',0.5,1796035974305,'ac486c5f5ebd48f79cc6b1516be23d38',1,0);
INSERT INTO metrics VALUES('train/loss',0.0,1796035974346,'ac486c5f5ebd48f79cc6b1516be23d38',2,1);
INSERT INTO metrics VALUES('accuracy',0.5,1796035974397,'ac486c5f5ebd48f79cc6b1516be23d38',2,0);
CREATE TABLE IF NOT EXISTS "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO params VALUES('lr','0.1','de19a94105fd41e99da04515b6b7b8ac');
INSERT INTO params VALUES('seed','3','de19a94105fd41e99da04515b6b7b8ac');
INSERT INTO params VALUES('betas','(0.9, 0.95)','de19a94105fd41e99da04515b6b7b8ac');
INSERT INTO params VALUES('optimizer','adam','de19a94105fd41e99da04515b6b7b8ac');
INSERT INTO params VALUES('lr','0.2','ac486c5f5ebd48f79cc6b1516be23d38');
INSERT INTO params VALUES('seed','4','ac486c5f5ebd48f79cc6b1516be23d38');
INSERT INTO params VALUES('betas','(0.9, 0.95)','ac486c5f5ebd48f79cc6b1516be23d38');
INSERT INTO params VALUES('optimizer','adam','ac486c5f5ebd48f79cc6b1516be23d38');
COMMIT;

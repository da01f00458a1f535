BEGIN TRANSACTION;
CREATE TABLE api_keys (
	id TEXT NOT NULL, 
	name TEXT DEFAULT '' NOT NULL, 
	digest TEXT NOT NULL, 
	key_prefix TEXT DEFAULT '' NOT NULL, 
	scopes JSON, 
	created_at FLOAT, 
	expires_at FLOAT, 
	revoked_at FLOAT, 
	last_used_at FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (digest)
);
CREATE TABLE connectors (
	id TEXT NOT NULL, 
	name TEXT DEFAULT '' NOT NULL, 
	provider TEXT DEFAULT '' NOT NULL, 
	status TEXT DEFAULT 'active' NOT NULL, 
	scopes JSON, 
	import_mode TEXT DEFAULT 'all' NOT NULL, 
	export_base_path TEXT, 
	settings JSON, 
	credentials BLOB, 
	declared BOOLEAN DEFAULT 0 NOT NULL, 
	created_at FLOAT, 
	updated_at FLOAT, 
	last_tested_at FLOAT, 
	last_test_result TEXT, 
	last_test_error TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "connectors" VALUES('conn_in','in','local','active','["import", "export"]','all',NULL,'{"root": "/in"}',NULL,1,1790000000.0,1790000000.0,NULL,NULL,NULL);
CREATE TABLE deliveries (
	id TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	webhook_id TEXT NOT NULL, 
	status TEXT DEFAULT 'pending' NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	response_status_code INTEGER, 
	response_body TEXT, 
	error_message TEXT, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	next_at FLOAT, 
	created_at FLOAT, 
	last_attempt_at FLOAT, 
	completed_at FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (event_id, webhook_id), 
	FOREIGN KEY(event_id) REFERENCES events (id), 
	FOREIGN KEY(webhook_id) REFERENCES webhooks (id)
);
INSERT INTO "deliveries" VALUES('del_01m325d1m0002t9ntfbg91tgwc','evt_01m325d1m000208kc8wfw3tyyk','hook_one','pending',0,NULL,NULL,NULL,0,1790000400.0,1790000400.0,NULL,NULL);
INSERT INTO "deliveries" VALUES('del_01m325d2k8004b7z0jq70tf0vy','evt_01m325d2k8003n0jvp4rw8tf0x','hook_one','pending',0,NULL,NULL,NULL,0,1790000401.0,1790000401.0,NULL,NULL);
INSERT INTO "deliveries" VALUES('del_01m325sa6g009nezgvp7jgk8xy','evt_01m325sa6g009dpfsjx0efcajs','hook_one','pending',0,NULL,NULL,NULL,0,1790000802.0,1790000802.0,NULL,NULL);
INSERT INTO "deliveries" VALUES('del_01m325sa6g00b8gv7nrvt77h3p','evt_01m325sa6g00ar59pbwq7zvga6','hook_one','pending',0,NULL,NULL,NULL,0,1790000802.0,1790000802.0,NULL,NULL);
INSERT INTO "deliveries" VALUES('del_01m3265gtg00ehqt1xs8p5khve','evt_01m3265gtg00ee1qbwntmmbcw8','hook_one','pending',0,NULL,NULL,NULL,0,1790001202.0,1790001202.0,NULL,NULL);
CREATE TABLE delivery_attempts (
	delivery_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	started_at FLOAT, 
	duration_seconds FLOAT, 
	response_status_code INTEGER, 
	response_body TEXT, 
	error_message TEXT, 
	PRIMARY KEY (delivery_id, number), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id)
);
CREATE TABLE events (
	id TEXT NOT NULL, 
	type TEXT DEFAULT '' NOT NULL, 
	index_id TEXT, 
	occurrence TEXT NOT NULL, 
	data JSON, 
	created_at FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (occurrence)
);
INSERT INTO "events" VALUES('evt_01m325d1m000208kc8wfw3tyyk','import_job.started','idx_main','import_job.started:job_01m3250v00001zdarfv7y80ca5','{"job_id": "job_01m3250v00001zdarfv7y80ca5", "index_id": "idx_main", "connector_id": "conn_in", "automation_id": "auto_01m3250v00000jv14tnyv333bx", "status": "importing", "run_id": null, "progress": {"total_files": 1, "imported": 0, "failed": 0, "skipped": 0, "bytes_transferred": 0}, "error_message": null}',1790000400.0);
INSERT INTO "events" VALUES('evt_01m325d2k8003n0jvp4rw8tf0x','media.created','idx_main','media.created:vid_01m325d2k8003etnctvy1x17yz','{"video_id": "vid_01m325d2k8003etnctvy1x17yz", "index_id": "idx_main", "title": "first.mp4", "media_type": "video", "status": "not_processed", "job_id": "job_01m3250v00001zdarfv7y80ca5"}',1790000401.0);
INSERT INTO "events" VALUES('evt_01m325d2k8005chst9fe6ajka6','prompt_run.started','idx_main','prompt_run.started:run_01m325d2k8004m6eca4acgd2m6','{"run_id": "run_01m325d2k8004m6eca4acgd2m6", "prompt_id": "prompt_technical", "index_id": "idx_main", "status": "pending", "total_items": 1, "completed_items": 0, "partial_items": 0, "failed_items": 0, "total_segments": 0, "completed_segments": 0, "error_message": null}',1790000401.0);
INSERT INTO "events" VALUES('evt_01m325d2k8005rvvq363kmv1hx','import_job.completed','idx_main','import_job.completed:job_01m3250v00001zdarfv7y80ca5','{"job_id": "job_01m3250v00001zdarfv7y80ca5", "index_id": "idx_main", "connector_id": "conn_in", "automation_id": "auto_01m3250v00000jv14tnyv333bx", "status": "completed", "run_id": "run_01m325d2k8004m6eca4acgd2m6", "progress": {"total_files": 1, "imported": 1, "failed": 0, "skipped": 0, "bytes_transferred": 100}, "error_message": null}',1790000401.0);
INSERT INTO "events" VALUES('evt_01m325d2k800663b1xk8j13dnc','media.processing.started','idx_main','media.processing.started:run_01m325d2k8004m6eca4acgd2m6:vid_01m325d2k8003etnctvy1x17yz','{"video_id": "vid_01m325d2k8003etnctvy1x17yz", "index_id": "idx_main", "run_id": "run_01m325d2k8004m6eca4acgd2m6", "title": "first.mp4", "media_type": "video", "status": "processing", "error": null}',1790000401.0);
INSERT INTO "events" VALUES('evt_01m325d3jg006r4x51e6agt2xn','media.processing.completed','idx_main','media.processing.completed:run_01m325d2k8004m6eca4acgd2m6:vid_01m325d2k8003etnctvy1x17yz','{"video_id": "vid_01m325d2k8003etnctvy1x17yz", "index_id": "idx_main", "run_id": "run_01m325d2k8004m6eca4acgd2m6", "title": "first.mp4", "media_type": "video", "status": "processed", "error": null}',1790000402.0);
INSERT INTO "events" VALUES('evt_01m325d3jg0075k3g1exbne5zs','prompt_run.completed','idx_main','prompt_run.completed:run_01m325d2k8004m6eca4acgd2m6','{"run_id": "run_01m325d2k8004m6eca4acgd2m6", "prompt_id": "prompt_technical", "index_id": "idx_main", "status": "completed", "total_items": 1, "completed_items": 1, "partial_items": 0, "failed_items": 0, "total_segments": 1, "completed_segments": 1, "error_message": null}',1790000402.0);
INSERT INTO "events" VALUES('evt_01m325sa6g009dpfsjx0efcajs','import_job.started','idx_main','import_job.started:job_01m325d3jg008m0mdvqza25yg0','{"job_id": "job_01m325d3jg008m0mdvqza25yg0", "index_id": "idx_main", "connector_id": "conn_in", "automation_id": "auto_01m3250v00000jv14tnyv333bx", "status": "importing", "run_id": null, "progress": {"total_files": 1, "imported": 0, "failed": 0, "skipped": 0, "bytes_transferred": 0}, "error_message": null}',1790000802.0);
INSERT INTO "events" VALUES('evt_01m325sa6g00ar59pbwq7zvga6','media.created','idx_main','media.created:vid_01m325sa6g00a7a5k1a23f6pk0','{"video_id": "vid_01m325sa6g00a7a5k1a23f6pk0", "index_id": "idx_main", "title": "second.mp4", "media_type": "video", "status": "not_processed", "job_id": "job_01m325d3jg008m0mdvqza25yg0"}',1790000802.0);
INSERT INTO "events" VALUES('evt_01m325sa6g00c4ksz0kh6rwdyf','prompt_run.started','idx_main','prompt_run.started:run_01m325sa6g00bj2y84211xvf0n','{"run_id": "run_01m325sa6g00bj2y84211xvf0n", "prompt_id": "prompt_technical", "index_id": "idx_main", "status": "pending", "total_items": 1, "completed_items": 0, "partial_items": 0, "failed_items": 0, "total_segments": 0, "completed_segments": 0, "error_message": null}',1790000802.0);
INSERT INTO "events" VALUES('evt_01m325sa6g00cmfcdvsqfv7h25','import_job.completed','idx_main','import_job.completed:job_01m325d3jg008m0mdvqza25yg0','{"job_id": "job_01m325d3jg008m0mdvqza25yg0", "index_id": "idx_main", "connector_id": "conn_in", "automation_id": "auto_01m3250v00000jv14tnyv333bx", "status": "completed", "run_id": "run_01m325sa6g00bj2y84211xvf0n", "progress": {"total_files": 1, "imported": 1, "failed": 0, "skipped": 0, "bytes_transferred": 100}, "error_message": null}',1790000802.0);
INSERT INTO "events" VALUES('evt_01m3265gtg00ee1qbwntmmbcw8','import_job.started','idx_main','import_job.started:job_01m325sa6g00dhf5qa5t79kpry','{"job_id": "job_01m325sa6g00dhf5qa5t79kpry", "index_id": "idx_main", "connector_id": "conn_in", "automation_id": "auto_01m3250v00000jv14tnyv333bx", "status": "importing", "run_id": null, "progress": {"total_files": 3, "imported": 0, "failed": 0, "skipped": 0, "bytes_transferred": 0}, "error_message": null}',1790001202.0);
INSERT INTO "events" VALUES('evt_01m3265gtg00f604zn2cab7tsv','import_job.progress','idx_main','import_job.progress:job_01m325sa6g00dhf5qa5t79kpry:1','{"job_id": "job_01m325sa6g00dhf5qa5t79kpry", "index_id": "idx_main", "connector_id": "conn_in", "automation_id": "auto_01m3250v00000jv14tnyv333bx", "status": "importing", "run_id": null, "progress": {"total_files": 3, "imported": 0, "failed": 1, "skipped": 0, "bytes_transferred": 0}, "error_message": null}',1790001202.0);
CREATE TABLE export_automations (
	id TEXT NOT NULL, 
	index_id TEXT NOT NULL, 
	destination_connector_id TEXT NOT NULL, 
	destination_subpath TEXT, 
	enabled BOOLEAN DEFAULT 1 NOT NULL, 
	paused BOOLEAN DEFAULT 0 NOT NULL, 
	declared BOOLEAN DEFAULT 0 NOT NULL, 
	created_at FLOAT, 
	updated_at FLOAT, 
	last_triggered_at FLOAT, 
	last_export_id TEXT, 
	last_error TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (index_id), 
	FOREIGN KEY(index_id) REFERENCES indexes (id), 
	FOREIGN KEY(destination_connector_id) REFERENCES connectors (id)
);
INSERT INTO "export_automations" VALUES('auto_01m3250v000002q3ewqxqkf0k1','idx_main','conn_in','results',1,0,0,1790000000.0,1790000000.0,1790000402.0,'exp_01m325d3jg007js07cak7xt1vh',NULL);
CREATE TABLE exports (
	id TEXT NOT NULL, 
	export_type TEXT DEFAULT '' NOT NULL, 
	target_id TEXT DEFAULT '' NOT NULL, 
	index_id TEXT, 
	run_id TEXT, 
	automation_id TEXT, 
	status TEXT DEFAULT 'pending' NOT NULL, 
	queue_status TEXT DEFAULT 'queued' NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	max_attempts INTEGER DEFAULT '150' NOT NULL, 
	destination_type TEXT DEFAULT 'download' NOT NULL, 
	destination_connector_id TEXT, 
	destination_base_path TEXT, 
	destination_subpath TEXT, 
	destination_uri TEXT, 
	file_size_bytes INTEGER, 
	sha256 TEXT, 
	error_message TEXT, 
	last_error TEXT, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	next_at FLOAT, 
	created_at FLOAT, 
	available_at FLOAT, 
	started_at FLOAT, 
	completed_at FLOAT, 
	updated_at FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (automation_id, run_id)
);
INSERT INTO "exports" VALUES('exp_01m325d3jg007js07cak7xt1vh','index','idx_main','idx_main','run_01m325d2k8004m6eca4acgd2m6','auto_01m3250v000002q3ewqxqkf0k1','pending','queued',0,150,'connector','conn_in',NULL,'results',NULL,NULL,NULL,NULL,NULL,0,1790000402.0,1790000402.0,1790000402.0,NULL,NULL,1790000402.0);
CREATE TABLE import_automations (
	id TEXT NOT NULL, 
	index_id TEXT NOT NULL, 
	connector_id TEXT NOT NULL, 
	scope_id INTEGER NOT NULL, 
	enabled BOOLEAN DEFAULT 1 NOT NULL, 
	paused BOOLEAN DEFAULT 0 NOT NULL, 
	source_prefix TEXT DEFAULT '' NOT NULL, 
	file_pattern TEXT DEFAULT '*' NOT NULL, 
	recursive BOOLEAN DEFAULT 1 NOT NULL, 
	debounce_interval TEXT DEFAULT '' NOT NULL, 
	quiet_seconds FLOAT NOT NULL, 
	max_wait_seconds FLOAT NOT NULL, 
	max_objects INTEGER NOT NULL, 
	scan_seconds FLOAT NOT NULL, 
	settle_seconds FLOAT NOT NULL, 
	process_existing BOOLEAN DEFAULT 1 NOT NULL, 
	baseline_done BOOLEAN DEFAULT 0 NOT NULL, 
	prompt_preset JSON, 
	import_mode_override TEXT, 
	declared BOOLEAN DEFAULT 0 NOT NULL, 
	generation INTEGER DEFAULT '0' NOT NULL, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	next_at FLOAT, 
	created_at FLOAT, 
	updated_at FLOAT, 
	last_scan_at FLOAT, 
	last_triggered_at FLOAT, 
	last_import_job_id TEXT, 
	last_run_id TEXT, 
	last_error TEXT, 
	last_error_hint TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (index_id), 
	FOREIGN KEY(index_id) REFERENCES indexes (id), 
	FOREIGN KEY(connector_id) REFERENCES connectors (id), 
	FOREIGN KEY(scope_id) REFERENCES ledger_scopes (id)
);
INSERT INTO "import_automations" VALUES('auto_01m3250v00000jv14tnyv333bx','idx_main','conn_in',1,1,0,'','*',1,'5m',300.0,1800.0,10000,60.0,5.0,1,0,'{"prompt_id": "prompt_technical", "prompt_version": 1}',NULL,0,0,1,1790000000.0,1790000000.0,1790000000.0,NULL,1790001202.0,'job_01m325sa6g00dhf5qa5t79kpry','run_01m325sa6g00bj2y84211xvf0n',NULL,NULL);
CREATE TABLE import_files (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id TEXT NOT NULL, 
	ordinal INTEGER DEFAULT '0' NOT NULL, 
	"key" TEXT NOT NULL, 
	version TEXT DEFAULT '' NOT NULL, 
	size_bytes INTEGER DEFAULT '0' NOT NULL, 
	modified_at FLOAT, 
	status TEXT DEFAULT 'waiting' NOT NULL, 
	reason TEXT, 
	message TEXT, 
	media_id TEXT, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	next_at FLOAT, 
	UNIQUE (job_id, "key")
);
INSERT INTO "import_files" VALUES(1,'job_01m3250v00001zdarfv7y80ca5',0,'first.mp4','v1',100,1789999000.0,'imported',NULL,NULL,'vid_01m325d2k8003etnctvy1x17yz',1,1,NULL);
INSERT INTO "import_files" VALUES(2,'job_01m325d3jg008m0mdvqza25yg0',0,'second.mp4','v1',100,1789999000.0,'imported',NULL,NULL,'vid_01m325sa6g00a7a5k1a23f6pk0',1,1,NULL);
INSERT INTO "import_files" VALUES(3,'job_01m325sa6g00dhf5qa5t79kpry',0,'b.mp4','v1',100,1789999000.0,'failed','unreadable','it is cut short',NULL,1,1,NULL);
INSERT INTO "import_files" VALUES(4,'job_01m325sa6g00dhf5qa5t79kpry',1,'c.mp4','v1',100,1789999000.0,'pending',NULL,NULL,NULL,0,0,1790001202.0);
INSERT INTO "import_files" VALUES(5,'job_01m325sa6g00dhf5qa5t79kpry',2,'d.mp4','v1',100,1789999000.0,'pending',NULL,NULL,NULL,0,0,1790001202.0);
INSERT INTO "import_files" VALUES(6,'job_01m3265gtg00g0f4hvttqgcp1b',0,'e.mp4','v1',100,1789999000.0,'waiting',NULL,NULL,NULL,0,0,NULL);
INSERT INTO "import_files" VALUES(7,'job_01m3265gtg00g0f4hvttqgcp1b',1,'b.mp4','v2',100,1789999000.0,'waiting',NULL,NULL,NULL,0,0,NULL);
CREATE TABLE import_jobs (
	id TEXT NOT NULL, 
	index_id TEXT NOT NULL, 
	connector_id TEXT, 
	automation_id TEXT, 
	window_id TEXT, 
	source_kind TEXT DEFAULT 'connector' NOT NULL, 
	source_prefix TEXT DEFAULT '' NOT NULL, 
	file_pattern TEXT DEFAULT '*' NOT NULL, 
	recursive BOOLEAN DEFAULT 1 NOT NULL, 
	status TEXT DEFAULT 'pending' NOT NULL, 
	prompt_preset JSON, 
	total_files INTEGER DEFAULT '0' NOT NULL, 
	imported INTEGER DEFAULT '0' NOT NULL, 
	failed INTEGER DEFAULT '0' NOT NULL, 
	skipped INTEGER DEFAULT '0' NOT NULL, 
	bytes_transferred INTEGER DEFAULT '0' NOT NULL, 
	run_id TEXT, 
	execution_status TEXT DEFAULT 'not_requested' NOT NULL, 
	error_message TEXT, 
	created_at FLOAT, 
	started_at FLOAT, 
	completed_at FLOAT, 
	updated_at FLOAT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(index_id) REFERENCES indexes (id), 
	UNIQUE (window_id)
);
INSERT INTO "import_jobs" VALUES('job_01m3250v00001zdarfv7y80ca5','idx_main','conn_in','auto_01m3250v00000jv14tnyv333bx','win_01m3250v0000122ee5axh0py4t','connector','','*',1,'completed','{"prompt_id": "prompt_technical", "prompt_version": 1}',1,1,0,0,100,'run_01m325d2k8004m6eca4acgd2m6','submitted',NULL,1790000400.0,1790000400.0,1790000401.0,1790000401.0);
INSERT INTO "import_jobs" VALUES('job_01m325d3jg008m0mdvqza25yg0','idx_main','conn_in','auto_01m3250v00000jv14tnyv333bx','win_01m325d3jg008dqfwf5vq39qfy','connector','','*',1,'completed','{"prompt_id": "prompt_technical", "prompt_version": 1}',1,1,0,0,100,'run_01m325sa6g00bj2y84211xvf0n','submitted',NULL,1790000802.0,1790000802.0,1790000802.0,1790000802.0);
INSERT INTO "import_jobs" VALUES('job_01m325sa6g00dhf5qa5t79kpry','idx_main','conn_in','auto_01m3250v00000jv14tnyv333bx','win_01m325sa6g00d8kmzd7802fsdj','connector','','*',1,'importing','{"prompt_id": "prompt_technical", "prompt_version": 1}',3,0,1,0,0,NULL,'pending',NULL,1790001202.0,1790001202.0,NULL,1790001202.0);
CREATE TABLE indexes (
	id TEXT NOT NULL, 
	name TEXT DEFAULT '' NOT NULL, 
	description TEXT, 
	declared BOOLEAN DEFAULT 0 NOT NULL, 
	created_at FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "indexes" VALUES('idx_main','main',NULL,1,1790000000.0);
CREATE TABLE jobs (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	ref TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	run_at FLOAT NOT NULL, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	running BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES(1,'scan','auto_01m3250v00000jv14tnyv333bx',1,1790000000.0,0,0);
INSERT INTO "jobs" VALUES(3,'delivery','del_01m325d1m0002t9ntfbg91tgwc',0,1790000400.0,0,0);
INSERT INTO "jobs" VALUES(4,'delivery','del_01m325d2k8004b7z0jq70tf0vy',0,1790000401.0,0,0);
INSERT INTO "jobs" VALUES(5,'export','exp_01m325d3jg007js07cak7xt1vh',0,1790000402.0,0,0);
INSERT INTO "jobs" VALUES(7,'delivery','del_01m325sa6g009nezgvp7jgk8xy',0,1790000802.0,0,0);
INSERT INTO "jobs" VALUES(8,'delivery','del_01m325sa6g00b8gv7nrvt77h3p',0,1790000802.0,0,0);
INSERT INTO "jobs" VALUES(9,'run_item','2',0,1790000802.0,0,0);
INSERT INTO "jobs" VALUES(13,'delivery','del_01m3265gtg00ehqt1xs8p5khve',0,1790001202.0,0,0);
INSERT INTO "jobs" VALUES(14,'window','win_01m3265gtg00ftt5xhm3d9dzc8',1,1790001502.0,0,0);
CREATE TABLE ledger_scopes (
	id INTEGER NOT NULL, 
	index_id TEXT DEFAULT '' NOT NULL, 
	connector_id TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (index_id, connector_id)
);
INSERT INTO "ledger_scopes" VALUES(1,'idx_main','conn_in');
CREATE TABLE media (
	id TEXT NOT NULL, 
	index_id TEXT NOT NULL, 
	connector_id TEXT, 
	import_file_id INTEGER, 
	import_job_id TEXT DEFAULT '' NOT NULL, 
	title TEXT DEFAULT '' NOT NULL, 
	uri TEXT DEFAULT '' NOT NULL, 
	"key" TEXT DEFAULT '' NOT NULL, 
	version TEXT DEFAULT '' NOT NULL, 
	size_bytes INTEGER DEFAULT '0' NOT NULL, 
	media_type TEXT DEFAULT '' NOT NULL, 
	duration_seconds FLOAT, 
	probe JSON, 
	status TEXT DEFAULT 'not_processed' NOT NULL, 
	created_at FLOAT, 
	updated_at FLOAT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(index_id) REFERENCES indexes (id), 
	UNIQUE (import_file_id)
);
INSERT INTO "media" VALUES('vid_01m325d2k8003etnctvy1x17yz','idx_main','conn_in',1,'job_01m3250v00001zdarfv7y80ca5','first.mp4','file:///in/first.mp4','first.mp4','v1',100,'video',4.0,'{"media_type": "video", "container": "mov,mp4", "duration_seconds": 4.0, "width": 160, "height": 90, "frame_rate": null, "video_codec": null, "audio_codec": null, "sample_rate": null, "channels": null, "bit_rate": null, "damage": []}','processed',1790000401.0,1790000402.0);
INSERT INTO "media" VALUES('vid_01m325sa6g00a7a5k1a23f6pk0','idx_main','conn_in',2,'job_01m325d3jg008m0mdvqza25yg0','second.mp4','file:///in/second.mp4','second.mp4','v1',100,'video',4.0,'{"media_type": "video", "container": "mov,mp4", "duration_seconds": 4.0, "width": 160, "height": 90, "frame_rate": null, "video_codec": null, "audio_codec": null, "sample_rate": null, "channels": null, "bit_rate": null, "damage": []}','not_processed',1790000802.0,1790000802.0);
CREATE TABLE objects (
	scope_id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	version TEXT NOT NULL, 
	window_seq INTEGER NOT NULL, 
	PRIMARY KEY (scope_id, "key", version)
)
 WITHOUT ROWID

;
INSERT INTO "objects" VALUES(1,'b.mp4','v1',3);
INSERT INTO "objects" VALUES(1,'b.mp4','v2',4);
INSERT INTO "objects" VALUES(1,'c.mp4','v1',3);
INSERT INTO "objects" VALUES(1,'d.mp4','v1',3);
INSERT INTO "objects" VALUES(1,'e.mp4','v1',4);
INSERT INTO "objects" VALUES(1,'first.mp4','v1',1);
INSERT INTO "objects" VALUES(1,'second.mp4','v1',2);
CREATE TABLE observations (
	automation_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	version TEXT DEFAULT '' NOT NULL, 
	reason TEXT DEFAULT '' NOT NULL, 
	detail TEXT DEFAULT '' NOT NULL, 
	size_bytes INTEGER DEFAULT '0' NOT NULL, 
	seen_at FLOAT, 
	job_id TEXT, 
	PRIMARY KEY (automation_id, "key")
)
 WITHOUT ROWID

;
CREATE TABLE outputs (
	uri TEXT NOT NULL, 
	export_id TEXT NOT NULL, 
	created_at FLOAT, 
	PRIMARY KEY (uri)
);
CREATE TABLE prompt_runs (
	id TEXT NOT NULL, 
	index_id TEXT, 
	prompt_id TEXT NOT NULL, 
	prompt_version INTEGER DEFAULT '1' NOT NULL, 
	prompt JSON, 
	settings JSON, 
	import_job_id TEXT, 
	executed_by TEXT DEFAULT '' NOT NULL, 
	status TEXT DEFAULT 'pending' NOT NULL, 
	error_message TEXT, 
	total_items INTEGER DEFAULT '0' NOT NULL, 
	completed_items INTEGER DEFAULT '0' NOT NULL, 
	partial_items INTEGER DEFAULT '0' NOT NULL, 
	failed_items INTEGER DEFAULT '0' NOT NULL, 
	total_segments INTEGER DEFAULT '0' NOT NULL, 
	completed_segments INTEGER DEFAULT '0' NOT NULL, 
	created_at FLOAT, 
	started_at FLOAT, 
	completed_at FLOAT, 
	updated_at FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (import_job_id)
);
INSERT INTO "prompt_runs" VALUES('run_01m325d2k8004m6eca4acgd2m6','idx_main','prompt_technical',1,'{"name": "technical", "prompt_text": "what the container and the decoder say", "json_schema": {"type": "object", "properties": {}}, "video_level": null}','{}','job_01m3250v00001zdarfv7y80ca5','auto_01m3250v00000jv14tnyv333bx','completed',NULL,1,1,0,0,1,1,1790000401.0,1790000401.0,1790000402.0,1790000402.0);
INSERT INTO "prompt_runs" VALUES('run_01m325sa6g00bj2y84211xvf0n','idx_main','prompt_technical',1,'{"name": "technical", "prompt_text": "what the container and the decoder say", "json_schema": {"type": "object", "properties": {}}, "video_level": null}','{}','job_01m325d3jg008m0mdvqza25yg0','auto_01m3250v00000jv14tnyv333bx','pending',NULL,1,0,0,0,0,0,1790000802.0,NULL,NULL,1790000802.0);
CREATE TABLE prompts (
	id TEXT NOT NULL, 
	name TEXT DEFAULT '' NOT NULL, 
	description TEXT DEFAULT '' NOT NULL, 
	prompt_text TEXT DEFAULT '' NOT NULL, 
	json_schema JSON, 
	video_level JSON, 
	semantic_indexing JSON, 
	prompt_version INTEGER DEFAULT '1' NOT NULL, 
	is_active BOOLEAN DEFAULT 1 NOT NULL, 
	is_default BOOLEAN DEFAULT 0 NOT NULL, 
	declared BOOLEAN DEFAULT 0 NOT NULL, 
	created_at FLOAT, 
	updated_at FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "prompts" VALUES('prompt_technical','technical','','what the container and the decoder say','{"type": "object", "properties": {}}',NULL,NULL,1,1,1,1,1790000000.0,1790000000.0);
CREATE TABLE run_items (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	run_id TEXT NOT NULL, 
	media_id TEXT NOT NULL, 
	status TEXT DEFAULT 'pending' NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	error_code TEXT, 
	error_message TEXT, 
	damage JSON, 
	warnings JSON, 
	video_metadata JSON, 
	video_metadata_text TEXT DEFAULT '' NOT NULL, 
	segment_count INTEGER DEFAULT '0' NOT NULL, 
	failed_segment_count INTEGER DEFAULT '0' NOT NULL, 
	started_at FLOAT, 
	completed_at FLOAT, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	next_at FLOAT, 
	UNIQUE (run_id, media_id), 
	FOREIGN KEY(run_id) REFERENCES prompt_runs (id), 
	FOREIGN KEY(media_id) REFERENCES media (id)
);
INSERT INTO "run_items" VALUES(1,'run_01m325d2k8004m6eca4acgd2m6','vid_01m325d2k8003etnctvy1x17yz','completed',1,NULL,NULL,'[]','[]','{"cuts": 0}','one shot',1,0,1790000401.0,1790000402.0,1,NULL);
INSERT INTO "run_items" VALUES(2,'run_01m325sa6g00bj2y84211xvf0n','vid_01m325sa6g00a7a5k1a23f6pk0','pending',0,NULL,NULL,NULL,NULL,NULL,'',0,0,NULL,NULL,0,1790000802.0);
CREATE TABLE schema_versions (
	number INTEGER NOT NULL, 
	applied_at FLOAT NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "schema_versions" VALUES(1,1790000000.0);
CREATE TABLE segment_results (
	run_item_id INTEGER NOT NULL, 
	ordinal INTEGER NOT NULL, 
	start_time FLOAT NOT NULL, 
	end_time FLOAT NOT NULL, 
	metadata JSON, 
	metadata_text TEXT DEFAULT '' NOT NULL, 
	warning TEXT, 
	error TEXT, 
	PRIMARY KEY (run_item_id, ordinal), 
	FOREIGN KEY(run_item_id) REFERENCES run_items (id)
);
INSERT INTO "segment_results" VALUES(1,0,0.0,4.0,'{"loudness": -23.0}','a shot',NULL,NULL);
CREATE TABLE webhooks (
	id TEXT NOT NULL, 
	name TEXT DEFAULT '' NOT NULL, 
	url TEXT DEFAULT '' NOT NULL, 
	events JSON, 
	index_ids JSON, 
	status TEXT DEFAULT 'active' NOT NULL, 
	secret BLOB NOT NULL, 
	failure_count INTEGER DEFAULT '0' NOT NULL, 
	last_failure_at FLOAT, 
	last_success_at FLOAT, 
	metadata JSON, 
	declared BOOLEAN DEFAULT 0 NOT NULL, 
	created_at FLOAT, 
	updated_at FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "webhooks" VALUES('hook_one','one','https://example.org/hook','["import_job.started", "media.created"]',NULL,'active',X'67414141414142724171756F6332577268665F6B4D464D684C785668664538324572537A70766D3038686870323242736A5938617448326D4274486E71415443436F6B596F6A544E4155734D4232776D374359695A4A2D546F64314A6C66395847317748746F6B6174777741337976696D536F5674396B3D',0,NULL,NULL,NULL,1,1790000000.0,1790000000.0);
CREATE TABLE windows (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	automation_id TEXT NOT NULL, 
	import_job_id TEXT NOT NULL, 
	state TEXT DEFAULT 'open' NOT NULL, 
	opened_at FLOAT, 
	last_change_at FLOAT, 
	due_at FLOAT, 
	object_count INTEGER DEFAULT '0' NOT NULL, 
	size_bytes INTEGER DEFAULT '0' NOT NULL, 
	reason TEXT, 
	closed_at FLOAT, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	next_at FLOAT, 
	UNIQUE (id), 
	FOREIGN KEY(automation_id) REFERENCES import_automations (id), 
	UNIQUE (import_job_id)
);
INSERT INTO "windows" VALUES(1,'win_01m3250v0000122ee5axh0py4t','auto_01m3250v00000jv14tnyv333bx','job_01m3250v00001zdarfv7y80ca5','closed',1790000000.0,1790000000.0,1790000300.0,1,100,'quiet',1790000400.0,2,NULL);
INSERT INTO "windows" VALUES(2,'win_01m325d3jg008dqfwf5vq39qfy','auto_01m3250v00000jv14tnyv333bx','job_01m325d3jg008m0mdvqza25yg0','closed',1790000402.0,1790000402.0,1790000702.0,1,100,'quiet',1790000802.0,2,NULL);
INSERT INTO "windows" VALUES(3,'win_01m325sa6g00d8kmzd7802fsdj','auto_01m3250v00000jv14tnyv333bx','job_01m325sa6g00dhf5qa5t79kpry','closed',1790000802.0,1790000802.0,1790001102.0,3,300,'quiet',1790001202.0,2,NULL);
INSERT INTO "windows" VALUES(4,'win_01m3265gtg00ftt5xhm3d9dzc8','auto_01m3250v00000jv14tnyv333bx','job_01m3265gtg00g0f4hvttqgcp1b','open',1790001202.0,1790001202.0,1790001502.0,2,200,NULL,NULL,1,1790001502.0);
CREATE INDEX jobs_due ON jobs (kind, running, run_at);
CREATE INDEX import_files_due ON import_files (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX ix_prompt_runs_index_id ON prompt_runs (index_id);
CREATE INDEX exports_due ON exports (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX ix_exports_index_id ON exports (index_id);
CREATE INDEX ix_deliveries_webhook_id ON deliveries (webhook_id);
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX ix_import_jobs_index_id ON import_jobs (index_id);
CREATE INDEX ix_import_jobs_automation_id ON import_jobs (automation_id);
CREATE INDEX media_by_index ON media (index_id, id);
CREATE INDEX import_automations_due ON import_automations (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX ix_run_items_media_id ON run_items (media_id);
CREATE INDEX run_items_due ON run_items (next_at) WHERE next_at IS NOT NULL;
CREATE UNIQUE INDEX one_open_window ON windows (automation_id) WHERE state = 'open';
CREATE INDEX windows_due ON windows (next_at) WHERE next_at IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('windows',4);
INSERT INTO "sqlite_sequence" VALUES('import_files',7);
INSERT INTO "sqlite_sequence" VALUES('run_items',2);
COMMIT;

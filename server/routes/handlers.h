/* The handlers of the routes, one group per resource; the table in routes.c names them. Each gets a request
 * with its body complete, its caller known and its role checked. */
#pragma once
struct request;

/* route_models.c */
void route_models_list(struct request *r);
void route_models_show(struct request *r);
/* upload_form.c has the upload; route_adapters.c the list; route_versions.c the rest. */
void route_adapters_list(struct request *r);
void route_versions_show(struct request *r);
void route_versions_show_one(struct request *r);
void route_versions_change(struct request *r);
void route_versions_delete_all(struct request *r);
void route_versions_delete(struct request *r);
/* route_files.c */
void route_files_config(struct request *r);
void route_files_weights(struct request *r);
void route_files_settings(struct request *r);
/* route_tenants.c */
void route_tenants_create(struct request *r);
void route_tenants_list(struct request *r);
void route_tenants_show(struct request *r);
void route_tenants_change(struct request *r);
void route_tenants_delete(struct request *r);
/* route_keys.c */
void route_keys_create(struct request *r);
void route_keys_rotate(struct request *r);
void route_keys_list(struct request *r);
void route_keys_revoke(struct request *r);
/* route_audit.c */
void route_audit_list(struct request *r);
/* route_backup.c */
void route_backup_create(struct request *r);
/* route_fsck.c */
void route_fsck_run(struct request *r);
/* route_text.c */
void route_text_tokenize(struct request *r);
void route_text_detokenize(struct request *r);
/* route_usage.c */
void route_usage_list(struct request *r);
/* route_status.c */
void route_status_index(struct request *r);
void route_status_health(struct request *r);
void route_status_ready(struct request *r);
void route_status_version(struct request *r);
void route_status_metrics(struct request *r);
void route_status_openapi(struct request *r);

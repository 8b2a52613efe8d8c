#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/cmdutil.h"
#include "manager/doctor.h"

static int print(const struct findings *f, bool json, struct err *e)
{
	if (json) {
		CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
		if (!j || json_add_bool(j, "ok", f->problems == 0) ||
		    json_add_int(j, "problems", f->problems) ||
		    !cJSON_AddItemReferenceToObject(j, "findings", f->list) || json_print(j))
			return err_errno(e, -ENOMEM, "writing the findings");
	} else {
		findings_print(f);
	}
	return cmd_flush(e);
}

static int look(bool json, struct err *e)
{
	struct cmd_context x;
	struct runtimes all = {0};
	struct findings f;
	int rc = cmd_context_init(&x, e);
	if (rc)
		return cmd_exit(rc);
	rc = findings_init(&f);
	if (rc == 0)
		rc = runtimes_read(&all, e);
	if (rc == 0) {
		doctor_runtimes(&f, &x, &all);
		doctor_machine(&f);
		doctor_state(&f, &x);
		doctor_sessions(&f, &x, &all);
		rc = f.error ? err_errno(e, f.error, "writing down what was found")
			     : print(&f, json, e);
	}
	int code = rc ? cmd_exit(rc) : f.problems ? CMD_FOUND_PROBLEMS : CMD_OK;
	findings_deinit(&f);
	runtimes_deinit(&all);
	cmd_context_deinit(&x);
	return code;
}

int cmd_doctor(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	bool json = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		json = true;
	}
	if (optind != argc)
		return cmd_usage("doctor", e, "doctor takes no REPO");
	return look(json, e);
}

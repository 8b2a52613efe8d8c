#include <errno.h>
#include <stdio.h>

#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"
#include "manager/ensure.h"
#include "manager/place.h"

static int print_endpoint(const struct config *c, const struct repo *r, const struct endpoint *ep,
			  bool json, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	CLEANUP(place_deinit) struct place place = {.dir = NULL};

	if (!json) {
		puts(ep->url);
		return cmd_flush(e);
	}
	int rc = ensure_json(r, ep, &j);
	if (!rc)
		rc = place_of(c, r, &place);
	if (!rc)
		rc = json_add_bytes(j, "directory", place.dir);
	if (!rc)
		rc = json_print(j);
	return rc ? err_errno(e, rc, "printing the endpoint of %s", r->name) : cmd_flush(e);
}

int cmd_ensure(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	struct cmd_context x;
	const struct repo *r;
	struct endpoint ep;
	bool json = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":j", longs, e)) != -1; json = true)
		if (opt == '?')
			return CMD_USAGE;
	if (argc - optind != 1)
		return cmd_usage("ensure", e, "give one REPO");
	int rc = cmd_context_init(&x, e);
	if (!rc)
		rc = cmd_find(&x, argv[optind], &r, e);
	if (!rc)
		rc = ensure_start(x.config, r, &ep, e);
	if (!rc)
		rc = print_endpoint(x.config, r, &ep, json, e);
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}

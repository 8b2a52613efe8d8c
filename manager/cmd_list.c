#include <errno.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/cmdutil.h"

static int to_json(const struct repo_list *l, struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = cJSON_CreateArray();
	char branch[256];

	for (size_t i = 0; all && i < l->n; i++) {
		const struct repo *r = &l->items[i];
		cJSON *j = cJSON_CreateObject();
		if (!j || !cJSON_AddItemToArray(all, j))
			return err_errno(e, -ENOMEM, "listing the repositories");
		if (repo_branch(r->root, branch, sizeof(branch)))
			branch[0] = '\0';
		if (json_add_str(j, "repo_id", r->id) || json_add_bytes(j, "name", r->name) ||
		    json_add_bytes(j, "root", r->root) || json_add_bytes(j, "branch", branch) ||
		    json_add_str(j, "added", r->added))
			return err_errno(e, -ENOMEM, "listing the repositories");
	}
	int rc = all ? json_print(all) : -ENOMEM;
	return rc ? err_errno(e, rc, "listing the repositories") : 0;
}

static int to_text(const struct repo_list *l)
{
	char branch[256];
	int wide = 4, wide_name = 4;

	for (size_t i = 0; i < l->n; i++) {
		int id = (int)strlen(l->items[i].id), name = (int)strlen(l->items[i].name);
		wide = id > wide ? id : wide;
		wide_name = name > wide_name ? name : wide_name;
	}
	for (size_t i = 0; i < l->n; i++) {
		const struct repo *r = &l->items[i];
		if (repo_branch(r->root, branch, sizeof(branch)))
			strcpy(branch, "?");
		printf("%-*s  ", wide, r->id);
		cmd_print_bytes(stdout, r->name);
		printf("%*s  ", wide_name - (int)strlen(r->name), "");
		cmd_print_bytes(stdout, branch[0] ? branch : "-");
		fputs("  ", stdout);
		cmd_print_bytes(stdout, r->root);
		putchar('\n');
	}
	return 0;
}

int cmd_list(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	struct cmd_context x;
	bool json = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":j", longs, e)) != -1; json = true)
		if (opt == '?')
			return CMD_USAGE;
	if (optind != argc)
		return cmd_usage("list", e, "list takes no REPO");
	int r = cmd_context_init(&x, e);
	if (r)
		return cmd_exit(r);
	r = json ? to_json(&x.repos, e) : to_text(&x.repos);
	cmd_context_deinit(&x);
	return cmd_exit(r ? r : cmd_flush(e));
}

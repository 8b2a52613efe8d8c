#include "manager/rrm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/config.h"
#include "manager/ensure.h"
#include "manager/password.h"
#include "manager/repo.h"

#define EXPORT __attribute__((visibility("default")))

static void config_freep(struct config **c)
{
	config_free(*c);
}

static int fill(struct rrm_endpoint *out, const struct repo *r, const struct endpoint *ep,
		struct err *e)
{
	memset(out, 0, sizeof(*out));
	int root = snprintf(out->root, sizeof(out->root), "%s", r->root);
	int name = snprintf(out->name, sizeof(out->name), "%s", r->name);
	int file = snprintf(out->password_file, sizeof(out->password_file), "%s/password",
			    r->state_dir);
	if (root >= (int)sizeof(out->root) || name >= (int)sizeof(out->name) ||
	    file >= (int)sizeof(out->password_file))
		return err_set(e, -ENAMETOOLONG, "the path of %s is too long", r->id);
	snprintf(out->repo_id, sizeof(out->repo_id), "%s", r->id);
	snprintf(out->url, sizeof(out->url), "%s", ep->url);
	snprintf(out->backend, sizeof(out->backend), "%s", ep->backend);
	snprintf(out->version, sizeof(out->version), "%s", ep->version);
	snprintf(out->username, sizeof(out->username), "%s", PASSWORD_USER);
	out->port = ep->port;
	out->pid = (int)ep->pid;
	return 0;
}

static int ensure_repo(const char *what, struct rrm_endpoint *out, struct err *e)
{
	CLEANUP(config_freep) struct config *c = NULL;
	CLEANUP(repo_list_deinit) struct repo_list l = {0};
	const struct repo *r = NULL;
	struct endpoint ep;
	int rc = config_load(&c, e);
	if (rc == 0)
		rc = repo_list_load(c, &l, e);
	if (rc == 0)
		rc = repo_find(c, &l, what, &r, NULL, e);
	if (rc == 0)
		rc = ensure_running(c, r, &ep, e);
	return rc == 0 ? fill(out, r, &ep, e) : rc;
}

EXPORT int rrm_ensure_running(const char *repo, struct rrm_endpoint *out, char *error, size_t size)
{
	struct err e = ERR_INIT;
	int rc = repo && out ? ensure_repo(repo, out, &e)
			     : err_set(&e, -EINVAL,
				       "rrm_ensure_running: repo and out must not be NULL");
	if (error && size > 0)
		snprintf(error, size, "%s", rc < 0 && !e.text[0] ? strerror(-rc) : e.text);
	return rc;
}

EXPORT const char *rrm_version(void)
{
	return RRM_VERSION;
}

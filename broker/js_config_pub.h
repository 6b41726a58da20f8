/* Stream configs: the rules of the features of publishing. Pure; any thread. */
#ifndef BROKER_JS_CONFIG_PUB_H
#define BROKER_JS_CONFIG_PUB_H

#include "broker/api_errors.h"
#include "engine/store.h"

/* Counters exclude some other settings; upstream says so before the others. */
bool js_config_counter_check(const struct stream_cfg *c, struct api_error *e);
/* Checks, and fills in what a feature implies (roll-ups, no deny_purge). */
bool js_config_pub_check(struct stream_cfg *c, bool pedantic, struct api_error *e);
/* What an update may not change. */
bool js_config_pub_update(const struct stream_cfg *c, const struct stream_cfg *old,
                          struct api_error *e);

#endif

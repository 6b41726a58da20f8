/* What jsadmin object's files share. */
#ifndef TOOLS_JSADMIN_OBJECT_H
#define TOOLS_JSADMIN_OBJECT_H

#include "objstore/obj_sync.h"
#include "tools/jsadmin_place.h"

/* Opens a bucket; p->err says why not. */
enum st object_bucket(struct place *p, const char *name, struct obj_bucket **b_out);
void object_print(struct place *p, const struct obj_info *i);

int object_put(struct place *p, int argc, char **argv);
int object_get(struct place *p, int argc, char **argv);

#endif

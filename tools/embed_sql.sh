#!/bin/sh
# Prints a C file with the numbered migrations given as arguments, as string tables (see engine/catalogue.h).
echo '/* made by tools/embed_sql.sh from migrations/; do not edit */'
echo '#include "engine/migrations.h"'
echo 'const struct migration migrations[] = {'
for f in "$@"; do
  n=$(basename "$f"); v=$(echo "$n" | sed 's/^0*//; s/_.*//')
  printf '    {%s, "%s",\n' "$v" "$n"
  sed 's/\\/\\\\/g; s/"/\\"/g; s/^/     "/; s/$/\\n"/' "$f"
  echo '    },'
done
echo '    {0, 0, 0}, /* C has no empty arrays */'
echo '};'
echo 'const int migrations_count = (int)(sizeof(migrations) / sizeof(migrations[0])) - 1;'

/* Millrace's own version, of the server and of jsadmin. */
#ifndef ENGINE_BASE_VERSION_H
#define ENGINE_BASE_VERSION_H

#ifndef MILLRACE_VERSION
#define MILLRACE_VERSION "0.1.0"
#endif

#endif

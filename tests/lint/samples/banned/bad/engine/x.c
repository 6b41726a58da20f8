void f(char *p)
{
    p = malloc(1);
    strcpy(p, "");
    free (p);
    assert(p);
    if (time(NULL) > atoi("1")) {
        usleep(1);
    }
}

/* malloc(1) in a comment is no call */
static const char s[] = "free(p)";
static void f(struct q *q)
{
    base_free(q->p);
    q->ops->free(q);
    q->ops->open(q, "x");
    my_time(1);
    snprintf(q->b, sizeof q->b, "assert(%s)", s);
}

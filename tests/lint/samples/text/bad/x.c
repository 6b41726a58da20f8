int x; 
	int y;
int z;
/* FIXME */
char p[] = "/home/me/x";
int w;
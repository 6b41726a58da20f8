struct x;

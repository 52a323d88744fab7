// The spool could not be read: the same address is asked again by itself.
setTimeout(() => location.reload(), 5000);

"""The task `report`: finished runs compared. Reads what runs recorded; never changes or steers one."""
